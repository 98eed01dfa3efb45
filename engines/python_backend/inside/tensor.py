"""Tensors as a Python model knows them."""

from typing import Any

import numpy as np

from engines.errors import InvalidInputError
from engines.python_backend.inside.datatypes import numpy_to_triton_type
from engines.python_backend.inside.errors import TritonModelException, text_of
from engines.tensor import Array, data_type_of

_CPU = (1, 0)
"""DLPack's number of the CPU, and the first of its kind."""


class Tensor:
    """A named numpy array; strings are an array of `bytes` objects."""

    def __init__(self, name: str, numpy_array: Array) -> None:
        self._name = text_of(name, "the name of a tensor")
        if self._name == "":
            raise TritonModelException("Tensor name cannot be an empty string.")
        if not isinstance(numpy_array, np.ndarray):
            raise TypeError(f"Tensor takes a name and a numpy array, found a {type(numpy_array).__name__}")
        _check_dtype(numpy_array)
        self._array = np.ascontiguousarray(numpy_array).reshape(numpy_array.shape)

    @classmethod
    def received(cls, name: str, array: Array) -> "Tensor":
        """A tensor that came over the line, which needs no look at it."""
        found = cls.__new__(cls)
        found._name, found._array = name, array
        return found

    def name(self) -> str:
        """Of the input or output."""
        return self._name

    def as_numpy(self) -> Array:
        """The array itself, no copy."""
        return self._array

    def shape(self) -> list[int]:
        """Sizes of the dimensions."""
        return list(self._array.shape)

    def triton_dtype(self) -> int:
        """Triton's number of the data type."""
        return numpy_to_triton_type(self._array.dtype) or 0

    def is_cpu(self) -> bool:
        """True: tensors of other devices are refused."""
        return True

    def to_dlpack(self) -> Any:
        """A DLPack capsule of the same memory."""
        return self.__dlpack__()

    def __dlpack__(self, stream: object = None, **_: object) -> Any:
        if self._array.dtype.kind in "OS":
            raise TritonModelException("DLPack does not have support for string tensors.")
        return self._array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU

    @staticmethod
    def from_dlpack(name: str, tensor: Any) -> "Tensor":
        """A tensor over the memory of a DLPack capsule, or of an object that makes one; it must lie on the CPU."""
        source = tensor if hasattr(tensor, "__dlpack__") else _Capsule(tensor)
        if tuple(source.__dlpack_device__()) != _CPU:
            raise TritonModelException("from_dlpack takes tensors on the CPU; move it there first")
        try:
            array = np.from_dlpack(source)
        except (BufferError, RuntimeError, TypeError) as error:
            raise TritonModelException(f"from_dlpack cannot take this tensor: {error}") from error
        if not array.flags.c_contiguous:
            raise TritonModelException(
                "DLPack tensor is not contiguous. Only contiguous DLPack tensors that are stored in C-Order are "
                "supported."
            )
        return Tensor(name, array)


class _Capsule:
    """A bare capsule as numpy wants it."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **_: object) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU


def sendable(array: Array) -> Array:
    """The array, its elements as `bytes` where it holds strings: of other objects, the text in UTF-8."""
    if array.dtype.kind not in "OS":
        return array
    if array.dtype.kind == "O" and all(type(item) is bytes for item in array.flat):
        return array
    found = np.empty(array.shape, object)
    found.reshape(-1)[:] = [item if isinstance(item, bytes) else str(item).encode() for item in array.flat]
    return found


def _check_dtype(array: Array) -> None:
    if array.dtype.kind != "S":
        try:
            data_type_of(array)
        except InvalidInputError:
            raise TritonModelException("NumPy dtype is not supported.") from None
