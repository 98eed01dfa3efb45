"""`model_warmup` of config.pbtxt: the samples a model is run with before it is ready."""

from collections.abc import Sequence
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto
from tritonclient.grpc.model_config_pb2 import ModelWarmup

from engines.config.problems import Problems, enum_name, key_path
from engines.config.tensors import read_data_type
from engines.errors import ModelLoadError
from engines.model_config import WarmupInput, WarmupSample
from engines.model_files import file_inside
from engines.tensor import FP32, TensorSpec, config_data_type

WARMUP_FOLDER = "warmup"


def read_warmup(
    proto: ModelConfigProto, folder: Path, inputs: Sequence[TensorSpec], problems: Problems
) -> tuple[WarmupSample, ...]:
    """The samples, their inputs in the order of `inputs`; data files are looked for in `folder`/warmup."""
    samples = []
    for i, sample in enumerate(proto.model_warmup):
        path = f"model_warmup[{i}]"
        batch_size = _batch_size(sample.batch_size, proto.max_batch_size, path, problems)
        _check_inputs(sample, path, inputs, problems)
        given = tuple(
            _input(spec, sample.inputs[spec.name], key_path(f"{path}.inputs", spec.name), folder, problems)
            for spec in inputs or _as_given(sample)
            if spec.name in sample.inputs
        )
        samples.append(WarmupSample(sample.name, batch_size, given, sample.count or 1))
    return tuple(samples)


def _as_given(sample: ModelWarmup) -> list[TensorSpec]:
    """The inputs of a sample, where only the model itself knows which it has."""
    return [
        TensorSpec(name, config_data_type(enum_name(given, "data_type")) or FP32, tuple(given.dims))
        for name, given in sorted(sample.inputs.items())
    ]


def _batch_size(size: int, most: int, path: str, problems: Problems) -> int:
    if most <= 0:
        if size > 1:
            problems.add(f"{path}.batch_size", f"{size} given, max_batch_size is 0; use 1, or leave it out")
        return 0
    if size > most:
        problems.add(f"{path}.batch_size", f"{size} is above max_batch_size, {most}; use at most that")
    return size or 1


def _check_inputs(sample: ModelWarmup, path: str, inputs: Sequence[TensorSpec], problems: Problems) -> None:
    if not sample.name:
        problems.add(f"{path}.name", "is missing; name the sample")
    names = [spec.name for spec in inputs]
    for name in sorted(sample.inputs):
        if names and name not in names:
            problems.add(key_path(f"{path}.inputs", name), f"the model has no such input; use {', '.join(names)}")
    for spec in inputs:
        if spec.name not in sample.inputs and not spec.optional:
            problems.add(f"{path}.inputs", f"input {spec.name!r} is missing; a sample gives every input")


def _input(spec: TensorSpec, given: ModelWarmup.Input, path: str, folder: Path, problems: Problems) -> WarmupInput:
    datatype = read_data_type(given, path, problems)
    if datatype != spec.datatype:
        text = f"{datatype.config_name} given, the input is {spec.datatype.config_name}; use that"
        problems.add(f"{path}.data_type", text)
    shape = tuple(given.dims)
    fits = len(shape) == len(spec.shape) and all(
        size >= 1 and wanted in (-1, size) for size, wanted in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        text = f"{list(shape)} does not fit the input's dims {list(spec.shape)}; give one size for each"
        problems.add(f"{path}.dims", text)
    full = TensorSpec(spec.name, datatype, shape)
    if given.input_data_file:
        try:
            file_inside(folder / WARMUP_FOLDER, given.input_data_file)
        except ModelLoadError as error:
            problems.add(f"{path}.input_data_file", str(error))
        return WarmupInput(full, "file", str(folder / WARMUP_FOLDER / given.input_data_file))
    if not (given.zero_data or given.random_data):
        problems.add(path, "has no data; use zero_data: true, random_data: true or input_data_file")
    return WarmupInput(full, "random" if given.random_data else "zero")
