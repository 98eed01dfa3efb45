"""The configuration as a model's `auto_complete_config` sees and completes it."""

import json
from collections.abc import Mapping
from typing import Any

_INPUT = ("name", "data_type", "dims", "optional")
_OUTPUT = ("name", "data_type", "dims")


class ModelConfig:
    """A configuration in Triton's JSON. What contradicts it raises `ValueError`."""

    def __init__(self, model_config: str) -> None:
        self._model_config: dict[str, Any] = json.loads(model_config)

    def as_dict(self) -> dict[str, Any]:
        """The configuration, to be read only."""
        return self._model_config

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """Raises the largest batch."""
        found = self._model_config["max_batch_size"]
        if found > max_batch_size:
            raise ValueError(
                f"configuration specified max_batch_size {found}, but in auto-complete-config function for model "
                f"'{self._name}' specified max_batch_size {max_batch_size}"
            )
        self._model_config["max_batch_size"] = max_batch_size

    def set_dynamic_batching(self) -> None:
        """Turns dynamic batching on, where no other scheduler is set."""
        for scheduler in ("sequence_batching", "ensemble_scheduling"):
            if scheduler in self._model_config:
                raise ValueError(
                    f"Configuration specified scheduling_choice as '{scheduler}', but auto-complete-config function "
                    f"for model '{self._name}' tries to set scheduling_choice as 'dynamic_batching'"
                )
        self._model_config.setdefault("dynamic_batching", {})

    def add_input(self, input: dict[str, Any]) -> None:
        """Adds an input, or completes the one of its name."""
        self._add("input", input, _INPUT, "contains property other than 'name', 'data_type', 'dims' and 'optional'.")

    def add_output(self, output: dict[str, Any]) -> None:
        """Adds an output, or completes the one of its name."""
        self._add("output", output, _OUTPUT, "contains property other than 'name', 'data_type' and 'dims'.")

    def set_model_transaction_policy(self, transaction_policy_dict: Mapping[str, bool]) -> None:
        """Makes the model decoupled, or says that it is not."""
        if transaction_policy_dict.keys() - {"decoupled"}:
            raise ValueError(
                f"model transaction property in auto-complete-config function for model '{self._name}' contains "
                "property other than 'decoupled'."
            )
        policy = self._model_config.setdefault("model_transaction_policy", {})
        for key, wanted in transaction_policy_dict.items():
            if policy.setdefault(key, wanted) != wanted:
                raise ValueError(
                    f"trying to change decoupled property in auto-complete-config for model '{self._name}', which is "
                    f"already set to '{policy[key]}'."
                )

    @property
    def _name(self) -> str:
        return str(self._model_config["name"])

    def _add(self, kind: str, tensor: dict[str, Any], known: tuple[str, ...], refusal: str) -> None:
        where = f"in auto-complete-config function for model '{self._name}'"
        named = f"{kind} '{tensor['name']}'" if "name" in tensor else kind
        if tensor.keys() - set(known):
            raise ValueError(f"{named} {where} {refusal}")
        for wanted in _OUTPUT:
            if wanted not in tensor:
                raise ValueError(f"{named} {where} is missing '{wanted}' property.")
        for found in self._model_config[kind]:
            if found["name"] == tensor["name"]:
                self._check_same(kind, found, tensor)
                found.update(tensor)
                return
        self._model_config[kind].append(tensor)

    def _check_same(self, kind: str, found: Mapping[str, Any], tensor: Mapping[str, Any]) -> None:
        name, was, new = tensor["name"], found["data_type"], tensor["data_type"]
        if was not in ("TYPE_INVALID", new):
            raise ValueError(
                f"unable to load model '{self._name}', configuration expects datatype {was} for {kind} '{name}', model "
                f"provides {new}"
            )
        for key in ("dims", "optional"):
            if found.get(key) not in (None, [], tensor.get(key, found.get(key))):
                raise ValueError(
                    f"model '{self._name}', tensor '{name}': the model expects {key} {tensor[key]} but the model "
                    f"configuration specifies {key} {found[key]}"
                )
