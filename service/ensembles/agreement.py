"""Do the tensors of an ensemble and of the models of its steps agree? Triton's rules, `ValidateEnsembleConfig`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.errors import ModelLoadError
from engines.model_config import EnsembleStep, ModelConfig
from engines.tensor import DataType, TensorSpec
from service.types import Offer


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One end of a tensor of the ensemble. `shape`: with the batch dimension, where `owner` has one."""

    owner: str
    datatype: DataType
    dims: tuple[int, ...]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.datatype} {list(self.shape)} by {self.owner}"


def fits(found: Sequence[int], wanted: Sequence[int]) -> bool:
    """Are the sizes the same, where neither is -1, any size?"""
    return len(found) == len(wanted) and all(f == w or -1 in (f, w) for f, w in zip(found, wanted, strict=True))


def check_agreement(config: ModelConfig, offers: Sequence[Offer | None]) -> None:
    """Raises `ModelLoadError` for the first step whose model is known and does not fit in; None: it is not known."""
    known: dict[str, _Tensor] = {}
    for spec in (*config.inputs, *config.outputs):
        known[spec.name] = _tensor("the ensemble", spec, config.max_batch_size)
    for number, (step, offer) in enumerate(zip(config.ensemble, offers, strict=True)):
        if offer is not None:
            try:
                _check_step(step, offer, config.max_batch_size, known)
            except ModelLoadError as error:
                place = f"ensemble_scheduling.step[{number}], model {step.model_name!r}"
                raise ModelLoadError(f"ensemble {config.name!r}: {place}: {error}") from None


def _check_step(step: EnsembleStep, offer: Offer, most: int, known: dict[str, _Tensor]) -> None:
    signature = offer.signature
    if 0 < offer.most_rows < most:
        raise ModelLoadError(
            f"it takes batches of up to {offer.most_rows}, the ensemble of up to {most}; lower its max_batch_size"
        )
    _check_map("input", step.input_map, signature.inputs, step.model_name, signature.max_batch_size, known)
    for spec in signature.inputs:
        if not spec.optional and spec.name not in step.input_map:
            raise ModelLoadError(f"its input {spec.name!r} is not mapped; add it to input_map")
    _check_map("output", step.output_map, signature.outputs, step.model_name, signature.max_batch_size, known)


def _check_map(
    role: str,
    mapped: Mapping[str, str],
    specs: Sequence[TensorSpec],
    owner: str,
    max_batch_size: int,
    known: dict[str, _Tensor],
) -> None:
    by_name = {spec.name: _tensor(repr(owner), spec, max_batch_size) for spec in specs}
    for name, tensor in mapped.items():
        if name not in by_name:
            raise ModelLoadError(f"it has no {role} {name!r}, only {', '.join(by_name)}; correct {role}_map")
        here, there = by_name[name], known.setdefault(tensor, by_name[name])
        alike = fits(here.dims, there.dims) or fits(here.shape, there.shape)
        if here.datatype is not there.datatype or not alike:
            raise ModelLoadError(f"tensor {tensor!r} is {there}, but {here}; make them the same")


def _tensor(owner: str, spec: TensorSpec, max_batch_size: int) -> _Tensor:
    batch = (-1,) if max_batch_size else ()
    return _Tensor(owner, spec.datatype, spec.shape, (*batch, *spec.shape))
