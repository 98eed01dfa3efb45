"""Checks a batch against an engine's signature, for engines that would answer a bad one with a crash or a guess."""

from collections.abc import Iterable

from engines.batch import Batch
from engines.errors import InvalidInputError
from engines.tensor import Array, Signature, TensorSpec


def check_inputs(batch: Batch, signature: Signature) -> None:
    """Raises `InvalidInputError` where a name, dtype, rank or size is not what `signature` says."""
    known = 0
    for spec in signature.inputs:
        array = batch.inputs.get(spec.name)
        if array is not None:
            known += 1
            _check(array, spec, batch.size if signature.max_batch_size else None)
        elif not spec.optional:
            raise InvalidInputError(f"input {spec.name!r} is missing; found {_names(batch.inputs)}")
    if known != len(batch.inputs):
        wanted = [spec.name for spec in signature.inputs]
        unknown = _names(sorted(batch.inputs.keys() - set(wanted)))
        raise InvalidInputError(f"input {unknown} is unknown; the model takes {_names(wanted)}")


def _check(array: Array, spec: TensorSpec, rows: int | None) -> None:
    if array.dtype != spec.datatype.numpy:
        raise InvalidInputError(f"input {spec.name!r} has numpy dtype {array.dtype}, wanted {spec.datatype}")
    wanted = spec.shape if rows is None else (rows, *spec.shape)
    if array.ndim != len(wanted) or any(w not in (-1, n) for w, n in zip(wanted, array.shape, strict=True)):
        raise InvalidInputError(f"input {spec.name!r} has shape {list(array.shape)}, wanted {list(wanted)}")


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
