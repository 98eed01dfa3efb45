"""How a model of variable lengths is laid out: the `batchyard.packing.` and `batchyard.padding.` parameters."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.config.values import INTEGER, Values
from engines.model_config import Packing
from engines.tensor import BOOL, BYTES, INT64, DataType, TensorSpec

WIDTHS = "batchyard.packing.widths"
MAX_TOKENS = "batchyard.packing.max_tokens"
PADDING = "batchyard.padding."
PACKED_INPUTS = ("input_ids", "position_ids", "segment_ids")

_LEAST_WIDTH = 4  # one segment; see Packing.segments
_MOST_TOKENS = 2**24


def read_packing(values: Values, proto: ModelConfigProto, inputs: Sequence[TensorSpec]) -> Packing | None:
    """The packing of a packed model, None for others."""
    if not values.keys("batchyard.packing."):
        return None
    widths = _widths(values)
    faults = _input_faults(inputs)
    if proto.max_batch_size < 1:
        faults.append(f"max_batch_size is {proto.max_batch_size}; a packed model batches, set it above 0")
    if proto.batch_input:
        faults.append("batch_input is not made for a packed model; remove it, segment_ids tell the texts apart")
    for fault in faults:
        values.refuse(WIDTHS, fault)
    most = values.integer(MAX_TOKENS, max(widths), _MOST_TOKENS, "the tokens of one batch, at least the largest width")
    return Packing(widths, most)


def _widths(values: Values) -> tuple[int, ...]:
    parts = [part.strip() for part in values.raw(WIDTHS).split(",")]
    widths = tuple(int(part) if INTEGER.fullmatch(part) else 0 for part in parts)
    ascending = all(a < b for a, b in pairwise(widths))
    if ascending and widths[0] >= _LEAST_WIDTH and widths[-1] <= _MOST_TOKENS:
        return widths
    limits = f"from {_LEAST_WIDTH} to {_MOST_TOKENS}"
    values.refuse(WIDTHS, f"{values.shown(WIDTHS)}; give row widths in tokens, ascending, {limits}, such as 16,32,64")
    return (_LEAST_WIDTH,)


def _input_faults(inputs: Sequence[TensorSpec]) -> list[str]:
    names = sorted(spec.name for spec in inputs)
    faults = []
    if names != sorted(PACKED_INPUTS):
        found = ", ".join(names)
        faults.append(f"the inputs are {found}; a packed model has exactly {', '.join(PACKED_INPUTS)}")
    for spec in inputs:
        if spec.name in PACKED_INPUTS and (spec.datatype != INT64 or spec.shape != (-1,)):
            found = f"{spec.datatype.config_name} with dims {list(spec.shape)}"
            faults.append(f"input {spec.name!r} is {found}; in a packed model it is TYPE_INT64 with dims [-1]")
    return faults


def read_padding(values: Values, inputs: Sequence[TensorSpec], packing: Packing | None) -> Mapping[str, int]:
    """Input name -> the value that fills it up to the longest of a batch."""
    padding = {}
    for key in values.keys(PADDING):
        name = key.removeprefix(PADDING)
        spec = next((spec for spec in inputs if spec.name == name), None)
        if packing:
            values.refuse(key, f"{values.shown(key)} given, but a packed model is never padded; remove it")
        elif spec is None:
            values.refuse(key, f"there is no input {name!r}; use one of {', '.join(s.name for s in inputs)}")
        elif fault := _unpaddable(spec):
            values.refuse(key, fault)
        else:
            low, high = _range(spec.datatype)
            padding[name] = values.integer(key, low, high, f"the filler, a {spec.datatype.config_name}")
    return padding


def _unpaddable(spec: TensorSpec) -> str:
    """Why an input cannot be padded, "" where it can."""
    if spec.datatype is BYTES:
        return f"input {spec.name!r} is TYPE_STRING, which has no filler; remove it"
    if spec.ragged:
        return f"input {spec.name!r} has allow_ragged_batch: true; remove one of the two"
    if spec.shape[:1] != (-1,):
        return f"input {spec.name!r} has dims {list(spec.shape)}; only a first dimension of -1 is padded, remove it"
    return ""


def _range(datatype: DataType) -> tuple[int, int]:
    if datatype is BOOL:
        return 0, 1
    if datatype.numpy.kind == "f":
        most = int(np.finfo(datatype.numpy).max)
        return -most, most
    limits = np.iinfo(datatype.numpy)
    return int(limits.min), int(limits.max)
