"""`sequence_batching` of config.pbtxt: strategy, control inputs and implicit state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto
from tritonclient.grpc.model_config_pb2 import ModelSequenceBatching

from engines.config.problems import Problems, read_choice
from engines.config.states import read_states
from engines.config.tensors import read_data_type
from engines.model_config import ModelConfig
from engines.sequence_batching import DEFAULT_IDLE, Control, ControlKind, Direct, Oldest, SequenceBatching
from engines.tensor import BOOL, BYTES, FP32, INT32, INT64, UINT32, UINT64, DataType, TensorSpec

MOST_CANDIDATES = 65_536
"""Sequences that one instance may have at once."""
_KINDS: Mapping[str, ControlKind] = {kind: kind for kind in get_args(ControlKind)}
_CORRELATION = "CONTROL_SEQUENCE_CORRID"
_VALUES: Mapping[str, DataType] = {"int32_false_true": INT32, "fp32_false_true": FP32, "bool_false_true": BOOL}
_ID_TYPES = (UINT64, INT64, UINT32, INT32, BYTES)


def read_sequence_batching(
    proto: ModelConfigProto,
    folder: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    problems: Problems,
) -> SequenceBatching | None:
    """The `sequence_batching` block, None where there is none; files of initial states are read from `folder`."""
    if not proto.HasField("sequence_batching"):
        return None
    block = proto.sequence_batching
    names = {spec.name for spec in inputs}
    controls = [
        found
        for i, control in enumerate(block.control_input)
        if (found := _control(control, f"sequence_batching.control_input[{i}]", names, problems))
    ]
    _check_kinds(controls, problems)
    if proto.response_cache.enable:
        problems.add("response_cache.enable", "true contradicts sequence_batching; use false: answers are never alike")
    if not block.HasField("oldest"):
        _check_rows(proto, problems)
    return SequenceBatching(
        _oldest(block, proto.max_batch_size, problems) if block.HasField("oldest") else _direct(block, problems),
        block.max_sequence_idle_microseconds or DEFAULT_IDLE,
        tuple(controls),
        read_states(block.state, folder, names, outputs, problems),
    )


def _check_rows(proto: ModelConfigProto, problems: Problems) -> None:
    """Adds what does not go with sequences that keep their rows."""
    for i, tensor in enumerate(proto.input):
        if tensor.allow_ragged_batch:
            text = "true contradicts the direct strategy, where rows are sequences; use oldest"
            problems.add(f"input[{i}].allow_ragged_batch", text)
    for field in ("batch_input", "batch_output"):
        if getattr(proto, field):
            problems.add(field, "contradicts the direct strategy of sequence_batching; use oldest")


def check_sequence_model(config: ModelConfig, problems: Problems) -> None:
    """Adds what of the rest of a configuration does not go with sequences."""
    if config.sequence_batching is None:
        return
    for name, found in (
        ("batchyard.text", config.text),
        ("batchyard.packing", config.packing),
        ("batchyard.padding", config.padding),
        ("batchyard.generation", config.generation),
    ):
        if found:
            problems.add("sequence_batching", f"contradicts the parameters {name}.*; remove one of the two")


def _control(
    given: ModelSequenceBatching.ControlInput, path: str, names: set[str], problems: Problems
) -> Control | None:
    if not given.name or given.name in names:
        found = f"{given.name!r} is also the name of another input" if given.name else "is missing"
        problems.add(f"{path}.name", f"{found}; give the name of the control tensor in the model file")
    names.add(given.name)
    if len(given.control) != 1:
        problems.add(f"{path}.control", f"{len(given.control)} given; give exactly one control for each tensor")
        return None
    path = f"{path}.control[0]"
    kind = read_choice(given.control[0], "kind", _KINDS, path, problems)
    if kind is None:
        return None
    if kind == _CORRELATION:
        return _correlation(given.name, kind, given.control[0], path, problems)
    return _flag(given.name, kind, given.control[0], path, problems)


def _flag(
    name: str, kind: ControlKind, given: ModelSequenceBatching.Control, path: str, problems: Problems
) -> Control | None:
    """A control that says yes or no, in one of three types."""
    found = [(field, list(getattr(given, field))) for field in _VALUES if getattr(given, field)]
    if len(found) != 1:
        problems.add(path, f"{kind} takes exactly one of {', '.join(_VALUES)}; {len(found)} given")
        return None
    field, values = found[0]
    if len(values) != 2:
        problems.add(f"{path}.{field}", f"{values} given; give two values, for false and for true")
        return None
    return Control(name, kind, _VALUES[field], *values)


def _correlation(
    name: str, kind: ControlKind, given: ModelSequenceBatching.Control, path: str, problems: Problems
) -> Control:
    for field in _VALUES:
        if getattr(given, field):
            problems.add(f"{path}.{field}", f"{kind} takes no such values; remove it and give data_type")
    datatype = read_data_type(given, path, problems)
    if datatype not in _ID_TYPES and given.data_type:
        known = ", ".join(t.config_name for t in _ID_TYPES)
        problems.add(f"{path}.data_type", f"{datatype.config_name} is no type of a correlation id; use one of {known}")
    return Control(name, kind, datatype)


def _check_kinds(controls: Sequence[Control], problems: Problems) -> None:
    kinds = [control.kind for control in controls]
    for kind in _KINDS:
        if kinds.count(_KINDS[kind]) > 1:
            problems.add("sequence_batching.control_input", f"{kind} is there twice; give one tensor for it")


def _direct(block: ModelSequenceBatching, problems: Problems) -> Direct:
    share = block.direct.minimum_slot_utilization
    if not 0.0 <= share <= 1.0:
        problems.add(
            "sequence_batching.direct.minimum_slot_utilization", f"{share:g} is no share; use a number from 0 to 1"
        )
    return Direct(block.direct.max_queue_delay_microseconds, share)


def _oldest(block: ModelSequenceBatching, max_batch_size: int, problems: Problems) -> Oldest:
    oldest, path = block.oldest, "sequence_batching.oldest"
    if not 0 <= oldest.max_candidate_sequences <= MOST_CANDIDATES:
        text = f"{oldest.max_candidate_sequences} is not from 0 to {MOST_CANDIDATES}; use a number in between"
        problems.add(f"{path}.max_candidate_sequences", text)
    for i, size in enumerate(oldest.preferred_batch_size):
        if not 1 <= size <= max_batch_size:
            text = f"{size} is not from 1 to max_batch_size, {max_batch_size}; use a size in between"
            problems.add(f"{path}.preferred_batch_size[{i}]", text)
    return Oldest(
        oldest.max_candidate_sequences,
        tuple(sorted(set(oldest.preferred_batch_size))),
        oldest.max_queue_delay_microseconds,
        oldest.preserve_ordering,
    )
