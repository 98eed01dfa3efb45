"""How config.pbtxt wants a model scheduled: batching, priorities, instances, versions and accelerators."""

from collections.abc import Mapping
from typing import get_args

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto
from tritonclient.grpc.model_config_pb2 import ModelDynamicBatching, ModelInstanceGroup, ModelQueuePolicy

from engines.config.problems import Problems, key_path, read_choice
from engines.model_config import (
    Accelerator,
    DynamicBatching,
    InstanceGroup,
    InstanceKind,
    QueuePolicy,
    TimeoutAction,
    VersionPolicy,
)

_ACTIONS: Mapping[str, TimeoutAction] = {action: action for action in get_args(TimeoutAction)}
_KINDS: Mapping[str, InstanceKind] = {kind: kind for kind in get_args(InstanceKind) if kind != "KIND_MODEL"}
_PYTHON_KINDS: Mapping[str, InstanceKind] = {**_KINDS, "KIND_MODEL": "KIND_MODEL"}
"""A Python model may choose its device itself."""


def read_dynamic_batching(proto: ModelConfigProto, problems: Problems) -> DynamicBatching | None:
    """The `dynamic_batching` block, None where there is none."""
    if not proto.HasField("dynamic_batching"):
        return None
    if proto.max_batch_size < 1:
        text = f"max_batch_size is {proto.max_batch_size}; set it above 0, or remove dynamic_batching"
        problems.add("dynamic_batching", text)
    block = proto.dynamic_batching
    for i, size in enumerate(block.preferred_batch_size):
        if not 1 <= size <= max(1, proto.max_batch_size):
            text = f"{size} is not from 1 to max_batch_size, {proto.max_batch_size}; use a size in between"
            problems.add(f"dynamic_batching.preferred_batch_size[{i}]", text)
    _check_priorities(block, problems)
    policies = {
        level: _queue_policy(policy, key_path("dynamic_batching.priority_queue_policy", level), problems)
        for level, policy in sorted(block.priority_queue_policy.items())
    }
    return DynamicBatching(
        preferred_batch_sizes=tuple(sorted(set(block.preferred_batch_size))),
        max_queue_delay_microseconds=block.max_queue_delay_microseconds,
        preserve_ordering=block.preserve_ordering,
        priority_levels=block.priority_levels,
        default_priority_level=block.default_priority_level,
        default_queue_policy=_queue_policy(
            block.default_queue_policy, "dynamic_batching.default_queue_policy", problems
        ),
        priority_queue_policies=policies,
    )


def _check_priorities(block: ModelDynamicBatching, problems: Problems) -> None:
    levels, default = block.priority_levels, block.default_priority_level
    if levels == 0 and default:
        text = f"{default} given without priority_levels; set those, or remove it"
        problems.add("dynamic_batching.default_priority_level", text)
    elif levels and not 1 <= default <= levels:
        text = f"{default} is not from 1 to priority_levels, {levels}; use a level in between"
        problems.add("dynamic_batching.default_priority_level", text)
    for level in sorted(block.priority_queue_policy):
        if not 1 <= level <= levels:
            text = f"{level} is not from 1 to priority_levels, {levels}; use a level in between"
            problems.add(key_path("dynamic_batching.priority_queue_policy", level), text)
    if levels > 1 and block.preserve_ordering:
        text = f"true contradicts {levels} priority_levels; use one level, or remove it"
        problems.add("dynamic_batching.preserve_ordering", text)


def _queue_policy(policy: ModelQueuePolicy, path: str, problems: Problems) -> QueuePolicy:
    return QueuePolicy(
        timeout_action=read_choice(policy, "timeout_action", _ACTIONS, path, problems) or "REJECT",
        default_timeout_microseconds=policy.default_timeout_microseconds,
        allow_timeout_override=policy.allow_timeout_override,
        max_queue_size=policy.max_queue_size,
    )


def read_instance_groups(proto: ModelConfigProto, problems: Problems) -> tuple[InstanceGroup, ...]:
    """The `instance_group` blocks; one instance on a device of the engine's choice where there is none."""
    kinds = _PYTHON_KINDS if proto.backend == "python" else _KINDS
    groups = [_group(group, kinds, f"instance_group[{i}]", problems) for i, group in enumerate(proto.instance_group)]
    return tuple(groups) or (InstanceGroup(),)


def _group(
    group: ModelInstanceGroup, kinds: Mapping[str, InstanceKind], path: str, problems: Problems
) -> InstanceGroup:
    kind = read_choice(group, "kind", kinds, path, problems) or "KIND_AUTO"
    if group.count < 0:
        problems.add(f"{path}.count", f"{group.count} is negative; use at least 1, or leave it out for 1")
    if group.gpus and kind == "KIND_CPU":
        problems.add(f"{path}.gpus", f"{list(group.gpus)} given with KIND_CPU; use KIND_GPU, or remove it")
    for i, gpu in enumerate(group.gpus):
        if gpu < 0 or gpu in group.gpus[:i]:
            text = f"{gpu} is negative or there twice; list each device number, from 0, once"
            problems.add(f"{path}.gpus[{i}]", text)
    return InstanceGroup(kind, group.count or 1, tuple(group.gpus), group.name)


def read_version_policy(proto: ModelConfigProto, problems: Problems) -> VersionPolicy:
    """The `version_policy` block; the newest version where there is none."""
    policy = proto.version_policy
    if policy.HasField("all"):
        return VersionPolicy("all")
    if not policy.HasField("specific"):
        return VersionPolicy("latest", policy.latest.num_versions or 1)
    versions = policy.specific.versions
    if not versions:
        problems.add("version_policy.specific.versions", "is empty; list the versions to serve, or use all {}")
    for i, version in enumerate(versions):
        if version < 1:
            text = f"{version} is no version; use a number of at least 1"
            problems.add(f"version_policy.specific.versions[{i}]", text)
    return VersionPolicy("specific", specific=tuple(sorted(set(versions))))


def read_accelerators(proto: ModelConfigProto, problems: Problems) -> tuple[Accelerator, ...]:
    """`optimization.execution_accelerators`: those for GPU, then those for CPU."""
    lists = proto.optimization.execution_accelerators
    found = []
    for field, entries in (
        ("gpu_execution_accelerator", lists.gpu_execution_accelerator),
        ("cpu_execution_accelerator", lists.cpu_execution_accelerator),
    ):
        for i, entry in enumerate(entries):
            if not entry.name:
                path = f"optimization.execution_accelerators.{field}[{i}].name"
                problems.add(path, "is missing; name an accelerator, for example tensorrt or openvino")
            found.append(Accelerator(entry.name, dict(sorted(entry.parameters.items()))))
    return tuple(found)
