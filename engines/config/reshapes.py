"""`reshape` of config.pbtxt's inputs and outputs, by Triton's rules: `ValidateIOShape` of its core."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto
from tritonclient.grpc.model_config_pb2 import ModelInput, ModelOutput

from engines.config.problems import Problems
from engines.model_config import ModelConfig


def read_reshapes(
    role: str, tensors: Iterable[ModelInput | ModelOutput], proto: ModelConfigProto, problems: Problems
) -> dict[str, tuple[int, ...]]:
    """Name -> the model's own shape, of the tensors that have a `reshape`. `role`: input or output."""
    found = {}
    for i, tensor in enumerate(tensors):
        if tensor.HasField("reshape"):
            shape = tuple(tensor.reshape.shape)
            fault = _fault(tuple(tensor.dims), shape, proto.max_batch_size)
            if fault:
                problems.add(f"{role}[{i}].reshape", f"{list(shape)} {fault}")
            found[tensor.name] = shape
    return found


def _fault(dims: Sequence[int], shape: Sequence[int], max_batch_size: int) -> str:
    """What is wrong with a reshape of `dims` to `shape`; "" if nothing."""
    if any(size < 1 and size != -1 for size in shape):
        return "has a size that is no dimension; use sizes of at least 1, or -1 for any size"
    if not shape and max_batch_size == 0:
        return "leaves no dimension, and a model without a batch dimension has no other; give a shape"
    if dims.count(-1) != shape.count(-1):
        return f"has another number of sizes of -1 than dims, {list(dims)}; give it as many"
    if _products(dims) != _products(shape):
        return f"holds other numbers of elements than dims, {list(dims)}; make the products of sizes the same"
    return ""


def _products(sizes: Sequence[int]) -> list[int]:
    """The elements between one size of -1 and the next."""
    ends = [-1, *(i for i, size in enumerate(sizes) if size == -1), len(sizes)]
    return [prod(sizes[start + 1 : end]) for start, end in pairwise(ends)]


def check_reshapes(config: ModelConfig, problems: Problems) -> None:
    """Adds what of the rest of a configuration does not go with reshapes."""
    for i, spec in enumerate(config.inputs):
        if spec.name in config.input_reshapes and (spec.ragged or spec.name in config.padding):
            how = "allow_ragged_batch" if spec.ragged else "the parameters batchyard.padding.*"
            problems.add(f"input[{i}].reshape", f"contradicts {how}; remove one of the two")
    if (config.packing or config.text) and (config.input_reshapes or config.output_reshapes):
        problems.add("reshape", "contradicts the parameters batchyard.packing.* and batchyard.text.*; remove it")
    for i, extra in enumerate(config.batch_inputs):
        if extra.source_input in config.input_reshapes:
            problems.add(f"batch_input[{i}]", f"contradicts reshape of {extra.source_input!r}; remove one of the two")
    for i, made in enumerate(config.batch_outputs):
        if made.target_name in config.output_reshapes:
            problems.add(f"batch_output[{i}]", f"contradicts reshape of {made.target_name!r}; remove one of the two")
