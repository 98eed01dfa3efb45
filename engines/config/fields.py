"""Refuses every field of config.pbtxt that is set and that Batchyard does not act on, those of newer protobufs too."""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from engines.config.problems import Problems, key_path

# The fields we act on, by message. A message that is not listed has none: it is entered, so that each field set in it
# is refused by its own name, and may be given empty.
_SUPPORTED: Mapping[str, frozenset[str]] = {
    message: frozenset(fields.split())
    for message, fields in {
        "ModelConfig": "name platform backend version_policy max_batch_size input output batch_input batch_output"
        " optimization dynamic_batching sequence_batching ensemble_scheduling instance_group default_model_filename"
        " parameters model_warmup response_cache model_transaction_policy",
        "ModelInput": "name data_type dims reshape allow_ragged_batch optional",
        "ModelOutput": "name data_type dims reshape label_filename",
        "ModelTensorReshape": "shape",
        "BatchInput": "kind target_name data_type source_input",
        "BatchOutput": "kind target_name source_input",
        "ModelVersionPolicy": "latest all specific",
        "ModelVersionPolicy.Latest": "num_versions",
        "ModelVersionPolicy.Specific": "versions",
        "ModelOptimizationPolicy": "graph cuda execution_accelerators input_pinned_memory output_pinned_memory",
        "ModelOptimizationPolicy.ExecutionAccelerators": "gpu_execution_accelerator cpu_execution_accelerator",
        "ModelOptimizationPolicy.ExecutionAccelerators.Accelerator": "name parameters",
        # How Triton stages tensors on their way to a GPU; the answers are the same either way.
        "ModelOptimizationPolicy.PinnedMemoryBuffer": "enable",
        "ModelDynamicBatching": "preferred_batch_size max_queue_delay_microseconds preserve_ordering priority_levels"
        " default_priority_level default_queue_policy priority_queue_policy",
        "ModelQueuePolicy": "timeout_action default_timeout_microseconds allow_timeout_override max_queue_size",
        "ModelSequenceBatching": "direct oldest max_sequence_idle_microseconds control_input state",
        "ModelSequenceBatching.StrategyDirect": "max_queue_delay_microseconds minimum_slot_utilization",
        "ModelSequenceBatching.StrategyOldest": "max_candidate_sequences preferred_batch_size"
        " max_queue_delay_microseconds preserve_ordering",
        "ModelSequenceBatching.ControlInput": "name control",
        "ModelSequenceBatching.Control": "kind int32_false_true fp32_false_true bool_false_true data_type",
        "ModelSequenceBatching.State": "input_name output_name data_type dims initial_state",
        "ModelSequenceBatching.InitialState": "name data_type dims zero_data data_file",
        "ModelEnsembling": "step",
        "ModelEnsembling.Step": "model_name model_version input_map output_map",
        "ModelInstanceGroup": "name kind count rate_limiter gpus",
        "ModelParameter": "string_value",
        "ModelTransactionPolicy": "decoupled",
        "ModelResponseCache": "enable",
        "ModelWarmup": "name batch_size inputs count",
        "ModelWarmup.Input": "data_type dims zero_data random_data input_data_file",
    }.items()
}

_REMEDIES: Mapping[str, str] = {
    "ModelSequenceBatching.iterative_sequence": "remove it and let the caller send each step of its sequence",
    "ModelSequenceBatching.State.use_growable_memory": "remove it; states may grow without it",
    "ModelInput.format": "use FORMAT_NONE and give dims in the order of the model file",
}
_REMOVE = "remove it"


def check_fields(message: Message, problems: Problems, path: str = "") -> None:
    """Adds a problem for each field set in `message`, at any depth, that is not acted on."""
    kind = message.DESCRIPTOR.full_name.removeprefix("inference.")
    supported = _SUPPORTED.get(kind, frozenset())
    for field, value in message.ListFields():
        here = f"{path}{field.name}"
        remedy = _REMEDIES.get(f"{kind}.{field.name}", _REMOVE)
        if field.name not in supported:
            problems.add(here, f"{_shown(field, value)}is not supported; {remedy}")
            continue
        for name, item in _messages(here, value):
            check_fields(item, problems, f"{name}.")


def _messages(path: str, value: Any) -> Iterator[tuple[str, Message]]:
    """The messages in a field's value, whether it is one, a list or a map, with their paths."""
    if isinstance(value, Mapping):
        entries = [(key_path(path, key), value[key]) for key in sorted(value)]
    elif isinstance(value, Message):
        entries = [(path, value)]
    elif isinstance(value, str | bytes | int | float):
        return
    else:
        entries = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    yield from ((name, item) for name, item in entries if isinstance(item, Message))


def _shown(field: FieldDescriptor, value: Any) -> str:
    """A plain value as written in the file, with a space behind it; nothing for a message or a list."""
    if field.enum_type is not None and isinstance(value, int):
        named = field.enum_type.values_by_number.get(value)
        return f"{value if named is None else named.name} "
    if isinstance(value, bool):
        return f"{str(value).lower()} "
    return f"{value!r} " if isinstance(value, str | int | float) else ""
