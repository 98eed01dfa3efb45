"""The tensors of config.pbtxt: inputs, outputs with their labels, and the inputs that the batcher makes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from google.protobuf.message import Message
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto
from tritonclient.grpc.model_config_pb2 import ModelInput, ModelOutput

from engines.config.problems import Problems, enum_name, read_choice
from engines.errors import ModelLoadError
from engines.model_config import BatchInput, BatchInputKind, BatchOutput
from engines.model_files import file_inside, read_text
from engines.tensor import DATA_TYPES, FP32, INT32, DataType, TensorSpec, config_data_type

_KINDS: Mapping[str, BatchInputKind] = {kind: kind for kind in get_args(BatchInputKind)}

COMPLETED = ("python", "triton")
"""The backends whose models say themselves which inputs and outputs they have, where config.pbtxt does not."""


def read_inputs(proto: ModelConfigProto, problems: Problems) -> tuple[TensorSpec, ...]:
    """The inputs of the model file."""
    specs = [_input(tensor, f"input[{i}]", problems) for i, tensor in enumerate(proto.input)]
    _check_names("input", specs, proto.backend in COMPLETED, problems)
    for i, spec in enumerate(specs):
        if spec.ragged and proto.max_batch_size == 0:
            problems.add(
                f"input[{i}].allow_ragged_batch", "true needs batches; set max_batch_size above 0 or remove it"
            )
    return tuple(specs)


def read_outputs(proto: ModelConfigProto, folder: Path, problems: Problems) -> tuple[TensorSpec, ...]:
    """The outputs of the model file; label files are read from `folder`."""
    specs = [_output(tensor, f"output[{i}]", folder, problems) for i, tensor in enumerate(proto.output)]
    _check_names("output", specs, proto.backend in COMPLETED, problems)
    return tuple(specs)


def _input(tensor: ModelInput, path: str, problems: Problems) -> TensorSpec:
    return TensorSpec(
        tensor.name,
        read_data_type(tensor, path, problems),
        _shape(tensor.dims, path, problems),
        optional=tensor.optional,
        ragged=tensor.allow_ragged_batch,
    )


def _output(tensor: ModelOutput, path: str, folder: Path, problems: Problems) -> TensorSpec:
    datatype = read_data_type(tensor, path, problems)
    shape = _shape(tensor.dims, path, problems)
    labels: tuple[str, ...] = ()
    if tensor.label_filename:
        try:
            labels = _labels(folder, tensor.label_filename, shape)
        except ModelLoadError as error:
            problems.add(f"{path}.label_filename", str(error))
    return TensorSpec(tensor.name, datatype, shape, labels=labels)


def read_data_type(tensor: Message, path: str, problems: Problems) -> DataType:
    """The data type of a tensor; a problem where it is missing or not served."""
    name = enum_name(tensor, "data_type")
    found = config_data_type(name)
    if found is None:
        wanted = "TYPE_FP32" if name == "TYPE_BF16" else ", ".join(t.config_name for t in DATA_TYPES.values())
        text = f"is missing; use one of {wanted}" if name == "TYPE_INVALID" else f"{name} is not served; use {wanted}"
        problems.add(f"{path}.data_type", text)
    return found or FP32


def _shape(dims: Sequence[int], path: str, problems: Problems) -> tuple[int, ...]:
    if not dims:
        problems.add(f"{path}.dims", "is missing; list the dimensions without that of the batch, -1 for any size")
    for i, size in enumerate(dims):
        if size < 1 and size != -1:
            problems.add(f"{path}.dims[{i}]", f"{size} is no dimension; use a size of at least 1, or -1 for any size")
    return tuple(dims)


def _labels(folder: Path, name: str, shape: Sequence[int]) -> tuple[str, ...]:
    text = read_text(file_inside(folder, name))
    labels = tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
    if shape and shape[-1] > 0 and len(labels) != shape[-1]:
        raise ModelLoadError(
            f"{name!r} has {len(labels)} labels, the last dimension is {shape[-1]}; make them the same"
        )
    return labels


def _check_names(field: str, specs: Sequence[TensorSpec], completed: bool, problems: Problems) -> None:
    if not specs and not completed:
        problems.add(field, f"is missing; describe at least one {field} of the model")
    seen: set[str] = set()
    for i, spec in enumerate(specs):
        _check_name(f"{field}[{i}].name", spec.name, seen, problems)


def _check_name(path: str, name: str, seen: set[str], problems: Problems) -> None:
    if not name:
        problems.add(path, "is missing; give the tensor's name in the model file")
    elif name in seen:
        problems.add(path, f"{name!r} is there twice; give each tensor its own name")
    seen.add(name)


def read_batch_inputs(
    proto: ModelConfigProto, inputs: Sequence[TensorSpec], problems: Problems
) -> tuple[BatchInput, ...]:
    """The inputs that the batcher makes for ragged batching."""
    seen = {spec.name for spec in inputs}
    sources = {spec.name for spec in inputs if not spec.optional}
    found = []
    for i, extra in enumerate(proto.batch_input):
        path = f"batch_input[{i}]"
        target = _only(extra.target_name, f"{path}.target_name", problems)
        source = _only(extra.source_input, f"{path}.source_input", problems)
        if target:
            _check_name(f"{path}.target_name", target, seen, problems)
        if source and source not in sources:
            problems.add(f"{path}.source_input", _no_source(source, sources))
        datatype = read_data_type(extra, path, problems)
        if datatype not in (INT32, FP32):
            problems.add(f"{path}.data_type", f"{datatype.config_name} is not served here; use TYPE_INT32 or TYPE_FP32")
        kind = read_choice(extra, "kind", _KINDS, path, problems)
        if kind:
            found.append(BatchInput(kind, target, datatype, source))
    return tuple(found)


def read_batch_outputs(
    proto: ModelConfigProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], problems: Problems
) -> tuple[BatchOutput, ...]:
    """The outputs that a batch gives in one piece, to be cut by the shapes of an input."""
    shapes = {spec.name: spec.shape for spec in inputs if not spec.optional}
    known = {spec.name: spec.shape for spec in outputs}
    found: list[BatchOutput] = []
    for i, made in enumerate(proto.batch_output):
        path = f"batch_output[{i}]"
        target = _only(made.target_name, f"{path}.target_name", problems)
        source = _only(made.source_input, f"{path}.source_input", problems)
        if target and target not in known:
            problems.add(f"{path}.target_name", f"{target!r} is no output; use one of {', '.join(known)}")
        if target in [other.target_name for other in found]:
            problems.add(f"{path}.target_name", f"{target!r} is there twice; give each output once")
        if source and source not in shapes:
            problems.add(f"{path}.source_input", _no_source(source, shapes))
        elif len(known.get(target, ())) > len(shapes.get(source, ())):
            text = f"{source!r} has fewer dims than {target!r}; name an input with a size for each of them"
            problems.add(f"{path}.source_input", text)
        if proto.max_batch_size == 0:
            problems.add(path, "needs batches; set max_batch_size above 0 or remove it")
        found.append(BatchOutput(target, source, known.get(target, ())))
    return tuple(found)


def _no_source(name: str, sources: Iterable[str]) -> str:
    return f"{name!r} is no input that is always there; use one of {', '.join(sorted(sources))}"


def _only(names: Sequence[str], path: str, problems: Problems) -> str:
    if len(names) != 1 or not names[0]:
        problems.add(path, f"{list(names)} given; give exactly one name")
        return ""
    return names[0]
