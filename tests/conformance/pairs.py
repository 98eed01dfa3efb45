"""The two inputs that most of Triton's examples send, and the check of what comes back."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

LEFT = np.arange(16, dtype=np.int32).reshape(1, 16)
ONES = np.ones((1, 16), np.int32)
MINUS_ONES = np.full((1, 16), -1, np.int32)
NULLS = np.array([b"he\x00llo"] * 16, np.object_).reshape(1, 16)
BLOBS = np.array([b"\x00\x01\x02\x03"] * 16, np.bytes_).reshape(1, 16)


class Result(Protocol):
    """The answer of any of tritonclient's clients."""

    def as_numpy(self, name: str) -> npt.NDArray[np.generic] | None:
        """The output of this name."""
        ...


def check_pair(result: Result | None, left: npt.NDArray[np.int32], right: npt.NDArray[np.int32]) -> None:
    """OUTPUT0 is the sum, OUTPUT1 the difference."""
    assert result is not None
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), left + right)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), left - right)


def strings(numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.object_]:
    """The numbers as decimal strings, of the same shape."""
    return np.array([str(number).encode() for number in numbers.flat], np.object_).reshape(numbers.shape)


def numbers(found: npt.NDArray[np.generic] | None) -> npt.NDArray[np.int32]:
    """The other way round."""
    assert found is not None
    return np.array([int(each) for each in found.flat], np.int32).reshape(found.shape)
