"""Tensors on the wire: the data types of the Open Inference Protocol and its raw and BYTES codecs.

In memory a tensor is a `numpy.ndarray`; BYTES is an object array whose elements are `bytes`.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import InvalidInputError

Array = NDArray[Any]
Tensors = Mapping[str, Array]

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class DataType:
    """One data type. `size` is the bytes of an element, 0 where elements differ in length (BYTES)."""

    name: str
    numpy: np.dtype[Any]
    size: int

    @property
    def config_name(self) -> str:
        """The name in config.pbtxt, for example TYPE_FP32."""
        return "TYPE_STRING" if self.name == "BYTES" else f"TYPE_{self.name}"

    def __str__(self) -> str:
        return self.name


def _fixed(name: str, dtype: str) -> DataType:
    numpy_dtype = np.dtype(dtype)
    return DataType(name, numpy_dtype, numpy_dtype.itemsize)


BOOL = _fixed("BOOL", "bool")
UINT8 = _fixed("UINT8", "uint8")
UINT16 = _fixed("UINT16", "uint16")
UINT32 = _fixed("UINT32", "uint32")
UINT64 = _fixed("UINT64", "uint64")
INT8 = _fixed("INT8", "int8")
INT16 = _fixed("INT16", "int16")
INT32 = _fixed("INT32", "int32")
INT64 = _fixed("INT64", "int64")
FP16 = _fixed("FP16", "float16")
FP32 = _fixed("FP32", "float32")
FP64 = _fixed("FP64", "float64")
BYTES = DataType("BYTES", np.dtype(object), 0)

DATA_TYPES: Mapping[str, DataType] = {
    t.name: t for t in (BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, FP32, FP64, BYTES)
}
_BY_NUMPY: Mapping[np.dtype[Any], DataType] = {t.numpy: t for t in DATA_TYPES.values()}
_BY_CONFIG: Mapping[str, DataType] = {t.config_name: t for t in DATA_TYPES.values()}


def data_type(name: str) -> DataType:
    """The data type of a wire name such as FP32; raises `InvalidInputError` for an unknown one."""
    try:
        return DATA_TYPES[name]
    except KeyError:
        raise InvalidInputError(f"unknown datatype {name!r}; known are {', '.join(DATA_TYPES)}") from None


def config_data_type(name: str) -> DataType | None:
    """The data type of a config.pbtxt name such as TYPE_FP32, or None where it is not served (TYPE_BF16)."""
    return _BY_CONFIG.get(name)


def data_type_of(array: Array) -> DataType:
    """The data type of an array; raises `InvalidInputError` for a numpy dtype that has no wire name."""
    try:
        return _BY_NUMPY[array.dtype]
    except KeyError:
        raise InvalidInputError(f"numpy dtype {array.dtype} has no wire datatype") from None


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named input or output. `shape` leaves out the batch dimension; -1 is any size.

    `labels`: one per value of the last dimension, from Triton's `label_filename`, for the classification extension.
    """

    name: str
    datatype: DataType
    shape: tuple[int, ...]
    optional: bool = False
    ragged: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives. `max_batch_size` 0: tensors carry no batch dimension."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int = 0


def element_count(shape: Sequence[int]) -> int:
    """Product of the dimensions (1 for a scalar); Python integers, so it cannot overflow."""
    return math.prod(shape)


def encode_raw(array: Array) -> bytes:
    """Little-endian, row-major bytes of a tensor; BYTES elements each behind a uint32 length."""
    if array.dtype != object:
        return array.tobytes()
    parts: list[bytes] = []
    for item in array.ravel():
        parts.append(_LENGTH.pack(len(item)))
        parts.append(item)
    return b"".join(parts)


def decode_raw(buffer: bytes | memoryview, datatype: DataType, shape: Sequence[int]) -> Array:
    """The tensor in `buffer`; a view of it except for BYTES. Raises `InvalidInputError` where the sizes disagree."""
    count = element_count(shape)
    if datatype is BYTES:
        return _decode_bytes(memoryview(buffer), count).reshape(shape)
    expected = count * datatype.size
    if len(buffer) != expected:
        raise InvalidInputError(
            f"{datatype} tensor of shape {list(shape)} needs {expected} bytes of binary data, found {len(buffer)}"
        )
    return np.frombuffer(buffer, datatype.numpy).reshape(shape)


def _decode_bytes(buffer: memoryview, count: int) -> Array:
    if count * _LENGTH.size > len(buffer):
        raise InvalidInputError(f"BYTES tensor of {count} elements cannot fit in {len(buffer)} bytes of binary data")
    items = np.empty(count, dtype=object)
    position = 0
    for index in range(count):
        start = position + _LENGTH.size
        if start > len(buffer):
            raise InvalidInputError(f"BYTES tensor ends inside the length of element {index} of {count}")
        position = start + _LENGTH.unpack_from(buffer, position)[0]
        if position > len(buffer):
            raise InvalidInputError(f"BYTES tensor ends inside element {index} of {count}")
        items[index] = bytes(buffer[start:position])
    if position != len(buffer):
        raise InvalidInputError(f"BYTES tensor has {len(buffer) - position} bytes after its {count} elements")
    return items
