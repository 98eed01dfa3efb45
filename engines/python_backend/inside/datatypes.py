"""Triton's data types by number and name, and how strings are written; as `triton_python_backend_utils` has them."""

import struct
from types import MappingProxyType
from typing import Any

import numpy as np

from engines.tensor import DATA_TYPES, Array

_TYPES: tuple[Any, ...] = (
    np.bool_,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.float16,
    np.float32,
    np.float64,
    np.object_,
)
"""By Triton's numbers, from 1."""

TRITON_STRING_TO_NUMPY = MappingProxyType(
    {kind.config_name: bool if kind.name == "BOOL" else kind.numpy.type for kind in DATA_TYPES.values()}
)


def triton_to_numpy_type(data_type: int) -> Any:
    """The numpy type of one of Triton's numbers, None where there is none."""
    return _TYPES[data_type - 1] if 1 <= data_type <= len(_TYPES) else None


def numpy_to_triton_type(data_type: Any) -> int | None:
    """Triton's number of a numpy type, None where there is none."""
    if data_type == np.bytes_ or getattr(data_type, "kind", "") == "S":
        return len(_TYPES)
    return next((number for number, kind in enumerate(_TYPES, 1) if data_type == kind), None)


def triton_string_to_numpy(triton_type_string: str) -> Any:
    """The numpy type of a name such as TYPE_FP32."""
    return TRITON_STRING_TO_NUMPY[triton_type_string]


def serialize_byte_tensor(input_tensor: Array) -> bytes | tuple[()] | None:
    """The strings of a tensor in row-major order, each behind its length; () of none, None of what are no strings."""
    if input_tensor.size == 0:
        return ()
    if input_tensor.dtype.kind not in "OS":
        return None
    items = [item if isinstance(item, bytes) else str(item).encode() for item in input_tensor.flat]
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def deserialize_bytes_tensor(encoded_tensor: bytes) -> Array:
    """The strings that `serialize_byte_tensor` wrote, in one dimension."""
    items, position = [], 0
    while position < len(encoded_tensor):
        (length,) = struct.unpack_from("<I", encoded_tensor, position)
        items.append(struct.unpack_from(f"<{length}s", encoded_tensor, position + 4)[0])
        position += 4 + length
    return np.array(items, dtype=np.object_)
