"""Tensor data in JSON, both ways.

Numbers are taken strictly: nothing is rounded, wrapped or converted. What JSON cannot say of floats is written, and
read, as the strings "NaN", "Infinity" and "-Infinity" (the JSON mapping of protobuf does the same). FP16 is taken and
given as numbers too, which Triton refuses.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import orjson
from msgspec import Meta

from engines.tensor import BYTES, FP16, FP32, FP64, Array, DataType, element_count
from service.errors import InvalidRequestError

MAX_RANK = 32
_LARGE = 256 * 1024
"""Bytes of data from which its size is checked before it is decoded."""
_OPENING = re.compile(rb"(?:\[\s*){1,%d}" % (MAX_RANK + 1))
_FLOATS = frozenset({FP16, FP32, FP64})
_WRONG_COUNT = "Unable to parse 'data': Shape does not match true shape of 'data' field"
_RAGGED = "nested data is ragged; the lists of one level must be of one length"
_Float = float | Literal["NaN", "Infinity", "-Infinity"]
_ELEMENTS: dict[str, Any] = {
    "BOOL": bool,
    "UINT8": Annotated[int, Meta(ge=0, le=2**8 - 1)],
    "UINT16": Annotated[int, Meta(ge=0, le=2**16 - 1)],
    "UINT32": Annotated[int, Meta(ge=0, le=2**32 - 1)],
    "UINT64": Annotated[int, Meta(ge=0)],
    "INT8": Annotated[int, Meta(ge=-(2**7), le=2**7 - 1)],
    "INT16": Annotated[int, Meta(ge=-(2**15), le=2**15 - 1)],
    "INT32": Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)],
    "INT64": Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)],
    "FP16": _Float,
    "FP32": _Float,
    "FP64": _Float,
    "BYTES": str,
}


@lru_cache(maxsize=len(_ELEMENTS) * (MAX_RANK + 1))
def _decoder(name: str, depth: int) -> Callable[[msgspec.Raw], list[Any]]:
    type_ = _ELEMENTS[name]
    for _ in range(depth):
        type_ = list[type_]  # type: ignore[valid-type]
    decode: Callable[[msgspec.Raw], list[Any]] = msgspec.json.Decoder(type_).decode
    return decode


def decode_data(data: msgspec.Raw, name: str, datatype: DataType, shape: Sequence[int]) -> Array:
    """The tensor of an input's `data`, flat or nested as `shape` says (dimensions of 1 may be left out or added).

    Raises `InvalidRequestError` that names the input. Nothing is allocated for `shape` before the data is counted.
    """
    opening = _OPENING.match(data)
    depth = opening.group().count(b"[") if opening else 0
    if not 0 < depth <= MAX_RANK:
        raise _invalid(name, "data must be a list" if depth == 0 else f"data is nested deeper than {MAX_RANK}")
    if datatype is not BYTES:
        _check_size(data, name, shape)
    try:
        values = _decoder(datatype.name, depth)(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(name, f"data does not fit datatype {datatype}: {error}") from None
    array = _to_array(values, name, datatype)
    if array.ndim != depth:
        raise _invalid(name, _RAGGED)
    return _reshape(array, name, shape, depth)


def _check_size(data: msgspec.Raw, name: str, shape: Sequence[int]) -> None:
    """Refuses large data of a wrong size by its commas: milliseconds, where decoding takes a second."""
    if len(memoryview(data)) < _LARGE:
        return
    found, expected = bytes(data).count(b",") + 1, element_count(shape)
    if found != expected:
        raise _invalid(name, f"shape {list(shape)} needs {expected} values, data has {found}")


def _to_array(values: list[Any], name: str, datatype: DataType) -> Array:
    try:
        if datatype not in _FLOATS:
            return np.array(values, datatype.numpy)
        with np.errstate(over="raise"):
            return np.array(values, datatype.numpy)
    except (OverflowError, FloatingPointError):
        raise _invalid(name, f"data holds a number out of the range of datatype {datatype}") from None
    except ValueError:
        raise _invalid(name, _RAGGED) from None


def _reshape(array: Array, name: str, shape: Sequence[int], depth: int) -> Array:
    expected = element_count(shape)
    if depth == 1 and len(array) != expected:
        text = f"shape {list(shape)} needs {expected} values, data has {len(array)}"
        raise _invalid(name, text).as_triton(_WRONG_COUNT)
    if depth > 1 and [n for n in array.shape if n != 1] != [n for n in shape if n != 1]:
        raise _invalid(name, f"data is nested as {list(array.shape)}, shape says {list(shape)}")
    if array.dtype == object:
        array = _encode_strings(array)
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise _invalid(name, f"shape {list(shape)} cannot be held: {error}") from None


def _encode_strings(array: Array) -> Array:
    items = np.empty(array.size, BYTES.numpy)
    for index, text in enumerate(array.flat):
        items[index] = text.encode()
    return items


def _invalid(name: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"input {name!r}: {problem}", name)


NonFinite = Callable[[Array], bytes]
"""Writes a tensor of floats, some of which are NaN or infinite."""


def encode_data(array: Array, name: str, non_finite: NonFinite) -> orjson.Fragment:
    """The JSON of a tensor, flat, row-major; `non_finite` writes one that holds NaN or infinities.

    Raises `InvalidRequestError` for bytes that JSON cannot hold.
    """
    if array.dtype == object:
        return orjson.Fragment(_encode_bytes(array, name))
    encoded = orjson.dumps(np.ascontiguousarray(array).ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in encoded:  # what orjson writes for NaN and the infinities, and for nothing else
        encoded = non_finite(array)
    return orjson.Fragment(encoded)


def quoted(array: Array) -> bytes:
    """JSON as its standard has it, with the strings "NaN", "Infinity" and "-Infinity"."""
    return orjson.dumps([_spell(value) for value in array.ravel().tolist()])


def bare(array: Array) -> bytes:
    """The words NaN, Infinity and -Infinity, which are no JSON, as Triton writes them."""
    return json.dumps(array.ravel().tolist(), separators=(",", ":")).encode()


def _spell(value: float) -> float | str:
    if value - value == 0:
        return value
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _encode_bytes(array: Array, name: str) -> bytes:
    try:
        return orjson.dumps([item.decode() for item in array.flat])
    except UnicodeDecodeError:
        raise InvalidRequestError(
            f"output {name!r} holds bytes that are not UTF-8, which JSON cannot carry; ask for it with binary_data",
            name,
        ) from None
