"""Holds config.pbtxt against the tensors that a model file really has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engines.batch import Batch
from engines.errors import InvalidInputError, ModelLoadError
from engines.model_config import ModelConfig
from engines.tensor import DataType, Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class ModelTensor:
    """A tensor of a model file, batch dimension included; -1 is any size, `shape` None any rank.

    `datatype` None: one that is not served, named by `kind`, the vendor's own name of the type.
    """

    name: str
    datatype: DataType | None
    shape: tuple[int, ...] | None
    kind: str
    required: bool = True


def check_tensors(config: ModelConfig, inputs: Sequence[ModelTensor], outputs: Sequence[ModelTensor]) -> None:
    """Raises `ModelLoadError` where a declared name, type or shape is not the file's, or an input is not declared."""
    made = {extra.target_name: extra.datatype for extra in config.batch_inputs}
    _check_group(config, "input", config.inputs, inputs)
    _check_group(config, "output", config.outputs, outputs)
    declared = {spec.name for spec in config.inputs} | made.keys()
    for found in inputs:
        if found.required and found.name not in declared:
            raise ModelLoadError(
                f"model {config.name!r}: the file's input {found.name!r}, {_shown(found)}, is not in config.pbtxt; "
                "add it"
            )
        if found.name in made and found.datatype is not made[found.name]:
            raise _mismatch(config, "batch_input", found, str(made[found.name]))


def accepted(config: ModelConfig) -> Signature:
    """What a batch of this model holds, for `check_inputs`: ragged inputs laid end to end, and `batch_input` made."""
    if not (config.batch_inputs or config.batch_outputs) and not any(spec.ragged for spec in config.inputs):
        return config.signature
    given = (replace(spec, shape=(-1,) if spec.ragged else (-1, *spec.shape)) for spec in config.inputs)
    made = (
        TensorSpec(extra.target_name, extra.datatype, (-1, -1) if extra.kind == "BATCH_ITEM_SHAPE" else (-1,))
        for extra in config.batch_inputs
    )
    return Signature((*given, *made), config.outputs, 0)


def check_packed(batch: Batch) -> None:
    """Raises `InvalidInputError` where the inputs of packed rows differ in shape."""
    if len({array.shape for array in batch.inputs.values()}) > 1:
        shown = ", ".join(f"{name} {list(array.shape)}" for name, array in batch.inputs.items())
        raise InvalidInputError(f"the inputs of packed rows must have one shape, found {shown}")


def _check_group(config: ModelConfig, role: str, specs: Sequence[TensorSpec], found: Sequence[ModelTensor]) -> None:
    by_name: Mapping[str, ModelTensor] = {tensor.name: tensor for tensor in found}
    scattered = {made.target_name for made in config.batch_outputs}
    for spec in specs:
        tensor = by_name.get(spec.name)
        if tensor is None:
            names = ", ".join(repr(name) for name in by_name) or "none"
            raise ModelLoadError(
                f"model {config.name!r}: {role} {spec.name!r} of config.pbtxt is not in the file; it has {names}"
            )
        if spec.optional and tensor.required:
            raise ModelLoadError(
                f"model {config.name!r}: input {spec.name!r} is optional in config.pbtxt, but the file has no default "
                "for it; remove optional (ONNX: or give the file an initializer of that name)"
            )
        batched = config.max_batch_size > 0
        if role == "output" and spec.name in scattered and tensor.datatype is spec.datatype:
            continue
        shape = (-1,) if spec.ragged else ((-1, *spec.shape) if batched else spec.shape)
        if tensor.datatype is not spec.datatype or not _fits(shape, tensor.shape, config.max_batch_size):
            wanted = f"{spec.datatype} {list(shape)}{', batch dimension first' if batched else ''}"
            raise _mismatch(config, role, tensor, wanted)


def _fits(declared: Sequence[int], found: Sequence[int] | None, max_batch_size: int) -> bool:
    """Whether every declared size is one that the file takes: an open size only where the file's is open."""
    if found is None:
        return True
    if len(declared) != len(found):
        return False
    if max_batch_size == 1 and found[:1] == (1,):
        declared, found = declared[1:], found[1:]
    return all(there in (-1, here) for here, there in zip(declared, found, strict=True))


def _mismatch(config: ModelConfig, role: str, found: ModelTensor, declared: str) -> ModelLoadError:
    return ModelLoadError(
        f"model {config.name!r}: {role} {found.name!r} is {declared} in config.pbtxt, but {_shown(found)} in the file; "
        "make config.pbtxt say what the file has"
    )


def _shown(tensor: ModelTensor) -> str:
    shape = "of any rank" if tensor.shape is None else str(list(tensor.shape))
    return f"{tensor.datatype or tensor.kind} {shape}"
