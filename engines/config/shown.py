"""A model's configuration as callers are shown it: complete, with the values that Triton fills in, in Triton's form."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto
from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

from engines.model_config import ModelConfig
from engines.sequence_batching import DEFAULT_IDLE

_LONG = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_FILES: Mapping[str, str] = {
    "onnxruntime": "model.onnx",
    "openvino": "model.xml",
    "python": "model.py",
    "tensorrt": "model.plan",
}
"""The model file of a backend, where config.pbtxt names none."""
_ELSEWHERE = ("openai_upstream", "triton")
"""The backends whose models run on other servers, wherever those run them."""


def to_proto(config: ModelConfig) -> ModelConfigProto:
    """The configuration with the values that were filled in for what config.pbtxt leaves out."""
    proto = ModelConfigProto()
    proto.CopyFrom(config.proto)
    proto.name = config.name
    proto.platform = config.platform
    proto.max_batch_size = config.max_batch_size
    if not proto.version_policy.ListFields():
        proto.version_policy.latest.num_versions = config.version_policy.latest
    _fill_scheduling(proto)
    if config.ensemble or config.decoupled:
        proto.model_transaction_policy.decoupled = config.decoupled
    if not config.ensemble:
        _fill_engine(proto, config)
    return proto


def _fill_scheduling(proto: ModelConfigProto) -> None:
    whole = [proto.max_batch_size] if proto.max_batch_size else []
    if proto.HasField("dynamic_batching") and not proto.dynamic_batching.preferred_batch_size:
        proto.dynamic_batching.preferred_batch_size.extend(whole)
    if not proto.HasField("sequence_batching"):
        return
    batching = proto.sequence_batching
    batching.max_sequence_idle_microseconds = batching.max_sequence_idle_microseconds or DEFAULT_IDLE
    if batching.HasField("oldest") and not batching.oldest.preferred_batch_size:
        batching.oldest.preferred_batch_size.extend(whole)


def _fill_engine(proto: ModelConfigProto, config: ModelConfig) -> None:
    proto.backend = config.backend
    proto.default_model_filename = proto.default_model_filename or _FILES.get(config.backend, "")
    for memory in (proto.optimization.input_pinned_memory, proto.optimization.output_pinned_memory):
        if not memory.ListFields():
            memory.enable = True
    if not proto.instance_group:
        proto.instance_group.add()
    for i, group in enumerate(proto.instance_group):
        group.name = group.name or f"{config.name}_{i}"
        group.count = group.count or 1
        if group.kind == ModelInstanceGroup.KIND_AUTO and config.backend not in _ELSEWHERE:
            group.kind = ModelInstanceGroup.KIND_CPU if _on_cpu(config) else ModelInstanceGroup.KIND_GPU


def _on_cpu(config: ModelConfig) -> bool:
    return config.device == "CPU" or (not config.device and config.backend != "tensorrt")


def to_json(config: ModelConfig) -> dict[str, Any]:
    """`to_proto` as Triton's JSON: its names and order of fields, 64-bit and whole numbers as whole numbers."""
    proto = to_proto(config)
    found = json_format.MessageToDict(
        proto, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _ordered(found, proto.DESCRIPTOR)


def _ordered(fields: Mapping[str, Any], descriptor: Any) -> dict[str, Any]:
    """The fields in the order of their declaration; protobuf puts those at their defaults last."""
    return {field.name: _plain(fields[field.name], field) for field in descriptor.fields if field.name in fields}


def _plain(value: Any, field: FieldDescriptor) -> Any:
    """Undoes protobuf's writing of 64-bit numbers as strings."""
    if isinstance(value, list):
        return [_plain(item, field) for item in value]
    message = field.message_type
    if message is None:
        whole = field.cpp_type in _LONG or (isinstance(value, float) and value.is_integer())
        return int(value) if whole else value
    if message.GetOptions().map_entry:
        return {key: _plain(item, message.fields_by_name["value"]) for key, item in value.items()}
    return _ordered(value, message)
