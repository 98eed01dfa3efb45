"""Reads a Hugging Face encoder folder: its shape, pooling and weights, under one set of names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ml_dtypes  # noqa: F401  # lets numpy read bfloat16 weights
import numpy as np
from safetensors import SafetensorError, safe_open

from engines.errors import ModelLoadError
from engines.tensor import Array

Pooling = Literal["mean", "cls"]
Activation = Literal["gelu", "gelu_tanh", "relu"]

_ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_PREFIXES = ("", "bert.", "roberta.", "distilbert.", "model.")


@dataclass(frozen=True, slots=True)
class Family:
    """Where one family of encoders keeps its settings and weights."""

    hidden: str
    heads: str
    layers: str
    activation: str
    layer: str
    query: str
    key: str
    value: str
    attended: str
    attended_norm: str
    up: str
    down: str
    down_norm: str
    token_types: bool
    padded_positions: bool


def _bert(*, padded_positions: bool) -> Family:
    return Family(
        hidden="hidden_size",
        heads="num_attention_heads",
        layers="num_hidden_layers",
        activation="hidden_act",
        layer="encoder.layer.",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        attended="attention.output.dense",
        attended_norm="attention.output.LayerNorm",
        up="intermediate.dense",
        down="output.dense",
        down_norm="output.LayerNorm",
        token_types=True,
        padded_positions=padded_positions,
    )


_DISTILBERT = Family(
    hidden="dim",
    heads="n_heads",
    layers="n_layers",
    activation="activation",
    layer="transformer.layer.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attended="attention.out_lin",
    attended_norm="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    down_norm="output_layer_norm",
    token_types=False,
    padded_positions=False,
)

FAMILIES: Mapping[str, Family] = {
    "bert": _bert(padded_positions=False),
    "roberta": _bert(padded_positions=True),
    "xlm-roberta": _bert(padded_positions=True),
    "distilbert": _DISTILBERT,
}


class Weights:
    """FP32 weights of a safetensors file, by the names of the bare encoder."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: Any = safe_open(path, framework="numpy")
        except FileNotFoundError:
            raise ModelLoadError(f"{path}: not found; save the encoder as one safetensors file") from None
        except (OSError, SafetensorError) as error:
            raise ModelLoadError(f"{path}: cannot be read as safetensors: {error}") from error
        self._path = path
        names = frozenset(self._file.keys())  # type: ignore[no-untyped-call]
        anchor = "embeddings.word_embeddings.weight"
        self._prefix = next((prefix for prefix in _PREFIXES if prefix + anchor in names), "")
        self._names = names

    def get(self, name: str) -> Array:
        full = self._prefix + name
        if full not in self._names:
            full = full.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        if full not in self._names:
            raise ModelLoadError(f"{self._path}: has no weight {self._prefix + name!r}; is it a bare encoder?")
        return np.asarray(self._file.get_tensor(full), np.float32)


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """An encoder ready to be written. `positions` [window, hidden] has the token type 0 folded in."""

    family: Family
    hidden: int
    heads: int
    layers: int
    epsilon: float
    activation: Activation
    pooling: Pooling
    normalise: bool
    weights: Weights
    positions: Array


def read_encoder(folder: Path) -> EncoderSource:
    """Reads `folder` (config.json, model.safetensors, optionally modules.json); raises `ModelLoadError`."""
    encoder_folder, pooling, normalise = _read_modules(folder)
    family, config = _read_config(encoder_folder)
    activation = str(config.get(family.activation))
    if activation not in _ACTIVATIONS:
        raise ModelLoadError(
            f"{folder}: activation {activation!r} is not supported; supported are {', '.join(_ACTIVATIONS)}"
        )
    weights = Weights(encoder_folder / "model.safetensors")
    hidden, heads = (_size(config, key, encoder_folder) for key in (family.hidden, family.heads))
    positions = _positions(family, config, weights)
    if positions.shape[1:] != (hidden,) or hidden % heads:
        raise ModelLoadError(
            f"{encoder_folder / 'config.json'}: {family.hidden} {hidden} does not fit the weights, whose positions are"
            f" {list(positions.shape)}, or {family.heads} {heads}; use the config.json that belongs to the weights"
        )
    return EncoderSource(
        family=family,
        hidden=hidden,
        heads=heads,
        layers=_size(config, family.layers, encoder_folder),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        activation=_ACTIVATIONS[activation],
        pooling=pooling,
        normalise=normalise,
        weights=weights,
        positions=positions,
    )


def _read_config(folder: Path) -> tuple[Family, Mapping[str, Any]]:
    config = _read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise ModelLoadError(f"{folder / 'config.json'}: wanted an object of settings, found {config!r}")
    kind = config.get("model_type")
    family = FAMILIES.get(str(kind))
    if family is None:
        raise ModelLoadError(f"{folder}: model_type {kind!r} is not supported; supported are {', '.join(FAMILIES)}")
    position = config.get("position_embedding_type", "absolute")
    if position != "absolute":
        raise ModelLoadError(f"{folder}: position_embedding_type {position!r} is not supported; wanted 'absolute'")
    return family, config


def _size(config: Mapping[str, Any], key: str, folder: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise ModelLoadError(f"{folder / 'config.json'}: {key} is {value!r}; wanted a whole number of at least 1")
    return value


def _positions(family: Family, config: Mapping[str, Any], weights: Weights) -> Array:
    table = weights.get("embeddings.position_embeddings.weight")
    if family.padded_positions:
        table = table[int(config.get("pad_token_id", 1)) + 1 :]
    if family.token_types:
        table = table + weights.get("embeddings.token_type_embeddings.weight")[0]
    return table


def _read_modules(folder: Path) -> tuple[Path, Pooling, bool]:
    """The folder of the encoder, its pooling and whether to normalise, as sentence-transformers declares them."""
    if not (folder / "modules.json").exists():
        return folder, "mean", True
    encoder, normalise = folder, False
    pooling: Pooling = "mean"
    for module in _read_json(folder / "modules.json"):
        kind = str(module["type"]).rpartition(".")[2]
        match kind:
            case "Transformer":
                encoder = folder / module["path"]
            case "Pooling":
                pooling = _read_pooling(folder / module["path"] / "config.json")
            case "Normalize":
                normalise = True
            case _:
                raise ModelLoadError(
                    f"{folder}/modules.json: module {kind!r} is not supported; "
                    "supported are Transformer, Pooling, Normalize"
                )
    return encoder, pooling, normalise


def _read_pooling(path: Path) -> Pooling:
    config = _read_json(path)
    modes = [
        key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for key, value in config.items()
        if key.startswith("pooling_mode_") and value
    ]
    if "pooling_mode" in config:
        modes = [str(config["pooling_mode"])]
    if modes == ["mean"]:
        return "mean"
    if modes == ["cls"]:
        return "cls"
    raise ModelLoadError(f"{path}: pooling {' + '.join(modes) or 'none'} is not supported; supported are mean, cls")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelLoadError(f"{path}: not found; wanted the folder of a Hugging Face encoder") from None
    except ValueError as error:
        raise ModelLoadError(f"{path}: not valid JSON: {error}") from error
