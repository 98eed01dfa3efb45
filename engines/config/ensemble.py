"""`ensemble_scheduling` of config.pbtxt: steps that feed each other."""

from collections.abc import Mapping, Sequence

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto
from tritonclient.grpc.model_config_pb2 import ModelEnsembling

from engines.config.problems import Problems, key_path
from engines.model_config import EnsembleStep
from engines.tensor import TensorSpec

# What an ensemble has no engine for.
_ENGINE_FIELDS = (
    "instance_group",
    "batch_input",
    "batch_output",
    "default_model_filename",
    "optimization",
    "model_warmup",
)


def read_ensemble(
    proto: ModelConfigProto,
    name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    problems: Problems,
) -> tuple[EnsembleStep, ...]:
    """The steps in an order they can run in, whatever their order in the file; () where the model is no ensemble."""
    if not proto.HasField("ensemble_scheduling"):
        return ()
    for field, value in proto.ListFields():
        if field.name in _ENGINE_FIELDS and value:
            problems.add(field.name, "an ensemble runs no engine of its own; set it in the models of its steps")
    steps = [
        _step(step, f"ensemble_scheduling.step[{i}]", name, problems)
        for i, step in enumerate(proto.ensemble_scheduling.step)
    ]
    if not steps:
        problems.add("ensemble_scheduling.step", "is missing; give at least one step")
    _check_producers(steps, inputs, problems)
    _check_takers(steps, inputs, outputs, problems)
    return _in_order(steps, inputs, outputs, problems)


def _step(step: ModelEnsembling.Step, path: str, name: str, problems: Problems) -> EnsembleStep:
    if not step.model_name:
        problems.add(f"{path}.model_name", "is missing; name the model that runs this step")
    elif step.model_name == name:
        problems.add(f"{path}.model_name", f"{name!r} is this ensemble itself; name another model")
    if step.model_version < -1:
        text = f"{step.model_version} is no version; use a number of at least 1, or -1 for the newest"
        problems.add(f"{path}.model_version", text)
    for field, names in (("input_map", step.input_map), ("output_map", step.output_map)):
        if not names:
            problems.add(f"{path}.{field}", "is missing; map the model's tensors to those of the ensemble")
        for key in sorted(names):
            if not key or not names[key]:
                problems.add(key_path(f"{path}.{field}", key), "has an empty name; give key and value a tensor's name")
    return EnsembleStep(step.model_name, step.model_version or -1, _sorted(step.input_map), _sorted(step.output_map))


def _sorted(names: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(names.items()))


def _check_producers(steps: Sequence[EnsembleStep], inputs: Sequence[TensorSpec], problems: Problems) -> None:
    makers = {spec.name: "an input of the ensemble" for spec in inputs}
    for i, step in enumerate(steps):
        for key, tensor in step.output_map.items():
            if tensor in makers:
                path = key_path(f"ensemble_scheduling.step[{i}].output_map", key)
                problems.add(path, f"{tensor!r} already comes from {makers[tensor]}; give it another name")
            makers[tensor] = f"step[{i}]"


def _check_takers(
    steps: Sequence[EnsembleStep], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], problems: Problems
) -> None:
    taken = {spec.name for spec in outputs}.union(*(step.input_map.values() for step in steps))
    for i, spec in enumerate(inputs):
        if spec.name not in taken:
            problems.add(f"input[{i}].name", f"{spec.name!r} is taken by no step; map it to one or remove it")
    for i, step in enumerate(steps):
        for key, tensor in step.output_map.items():
            if tensor not in taken:
                path = key_path(f"ensemble_scheduling.step[{i}].output_map", key)
                problems.add(path, f"{tensor!r} is taken by no step and is no output; remove it from the map")


def _in_order(
    steps: Sequence[EnsembleStep], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], problems: Problems
) -> tuple[EnsembleStep, ...]:
    known = {spec.name for spec in inputs}
    waiting = dict(enumerate(steps))
    ordered: list[EnsembleStep] = []
    while ready := [i for i, step in waiting.items() if known.issuperset(step.input_map.values())]:
        for i in ready:
            known.update(waiting[i].output_map.values())
            ordered.append(waiting.pop(i))
    for i, step in waiting.items():
        for key, tensor in step.input_map.items():
            if tensor not in known:
                path = key_path(f"ensemble_scheduling.step[{i}].input_map", key)
                problems.add(path, f"{tensor!r} comes from no input of the ensemble and no step that can run before it")
    for i, spec in enumerate(outputs):
        if not waiting and spec.name not in known:
            problems.add(f"output[{i}].name", f"{spec.name!r} is made by no step; map a step's output to it")
    return tuple(ordered)
