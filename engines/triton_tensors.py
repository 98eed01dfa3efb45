"""Tensors of another server's answer: named, counted and shaped as it says, or an error that says it lies."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engines.errors import InvalidInputError, InvalidOutputError
from engines.tensor import BYTES, Array, data_type, decode_raw


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview) -> Array:
    """The output in `raw`, a view of it except for BYTES; raises `InvalidOutputError`."""
    try:
        return decode_raw(raw, data_type(datatype), shape)
    except (InvalidInputError, ValueError) as error:  # numpy's: a dimension beyond all memory
        raise InvalidOutputError(f"output {name!r} of the other server cannot be read: {error}") from None


def from_values(name: str, datatype: str, shape: Sequence[int], values: Sequence[Any]) -> Array:
    """The output whose elements came as numbers, or as text for BYTES; raises `InvalidOutputError`."""
    try:
        kind = data_type(datatype)
        if min(shape, default=0) < 0:
            raise ValueError(f"its shape is {list(shape)}")
        if kind is BYTES:
            items = np.empty(len(values), dtype=object)
            items[:] = [value if isinstance(value, bytes) else str(value).encode() for value in values]
            return items.reshape(shape)
        return np.array(values, dtype=kind.numpy).reshape(shape)
    except (InvalidInputError, ValueError, TypeError, OverflowError) as error:
        raise InvalidOutputError(f"output {name!r} of the other server cannot be read: {error}") from None
