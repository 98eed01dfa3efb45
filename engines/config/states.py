"""The `state` blocks of `sequence_batching`: tensors that the batcher keeps from one request to the next."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelSequenceBatching

from engines.config.problems import Problems
from engines.config.tensors import read_data_type
from engines.errors import InvalidInputError, ModelLoadError
from engines.model_files import file_inside
from engines.sequence_batching import State
from engines.tensor import BYTES, DataType, TensorSpec, decode_raw, element_count

INITIAL_FOLDER = "initial_state"


def read_states(
    blocks: Iterable[ModelSequenceBatching.State],
    folder: Path,
    names: set[str],
    outputs: Sequence[TensorSpec],
    problems: Problems,
) -> tuple[State, ...]:
    """The states. `names`: of the inputs that there are already; `outputs`: those that callers get."""
    shown = {spec.name: spec for spec in outputs}
    seen: set[str] = set()
    found = []
    for i, block in enumerate(blocks):
        path = f"sequence_batching.state[{i}]"
        _check_name(block.input_name, f"{path}.input_name", names, problems)
        _check_name(block.output_name, f"{path}.output_name", seen, problems)
        state = _state(block, path, folder, problems)
        spec = shown.get(state.output_name)
        if spec and (spec.datatype, spec.shape) != (state.datatype, state.shape):
            problems.add(f"{path}.output_name", f"output {spec.name!r} has another type or dims; make them the same")
        found.append(state)
    return tuple(found)


def _check_name(name: str, path: str, seen: set[str], problems: Problems) -> None:
    if not name:
        problems.add(path, "is missing; give the tensor's name in the model file")
    elif name in seen:
        problems.add(path, f"{name!r} is there twice; give each tensor its own name")
    seen.add(name)


def _state(block: ModelSequenceBatching.State, path: str, folder: Path, problems: Problems) -> State:
    datatype = read_data_type(block, path, problems)
    shape = tuple(block.dims)
    if any(size < 1 and size != -1 for size in shape):
        problems.add(f"{path}.dims", f"{list(shape)} given; use sizes of at least 1, or -1 for any size")
    first = tuple(1 if size == -1 else size for size in shape)
    if not block.initial_state:
        return State(block.input_name, block.output_name, datatype, shape, first)
    if len(block.initial_state) > 1:
        problems.add(f"{path}.initial_state", f"{len(block.initial_state)} given; give one")
    given, path = block.initial_state[0], f"{path}.initial_state[0]"
    first = tuple(given.dims)
    _check_initial(given, path, datatype, shape, problems)
    initial = b""
    if given.data_file:
        try:
            initial = _read(folder, given.data_file, datatype, first)
        except ModelLoadError as error:
            problems.add(f"{path}.data_file", str(error))
    return State(block.input_name, block.output_name, datatype, shape, first, initial)


def _check_initial(
    given: ModelSequenceBatching.InitialState,
    path: str,
    datatype: DataType,
    shape: Sequence[int],
    problems: Problems,
) -> None:
    if not given.name:
        problems.add(f"{path}.name", "is missing; name the initial state")
    if read_data_type(given, path, problems) != datatype:
        problems.add(f"{path}.data_type", f"differs from that of the state; use {datatype.config_name}")
    first = tuple(given.dims)
    fits = len(first) == len(shape) and all(f >= 1 and s in (-1, f) for f, s in zip(first, shape, strict=True))
    if not fits:
        problems.add(f"{path}.dims", f"{list(first)} does not fit the state's {list(shape)}; give one size for each")
    if not given.zero_data and not given.data_file:
        problems.add(path, "has no data; use zero_data: true or data_file")


def _read(folder: Path, name: str, datatype: DataType, shape: tuple[int, ...]) -> bytes:
    """The bytes of an initial state; what a file holds beyond them is not used, as in Triton."""
    path = file_inside(folder / INITIAL_FOLDER, name)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ModelLoadError(f"{name!r} cannot be read: {error.strerror}; check its permissions") from None
    if datatype is not BYTES:
        raw = raw[: element_count(shape) * datatype.size]
    try:
        decode_raw(raw, datatype, [max(0, size) for size in shape])
    except InvalidInputError as error:
        raise ModelLoadError(f"{name!r}: {error}; give the raw tensor") from None
    return raw
