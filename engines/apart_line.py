"""The connection between this process and an engine's own: msgpack behind its length, then raw tensors."""

import socket
from collections.abc import Mapping, Sequence
from struct import Struct as Layout
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from engines.tensor import BYTES, Array, Tensors, data_type, data_type_of, decode_raw, encode_raw

Message = TypeVar("Message")

NO_TENSORS: Mapping[str, Array] = MappingProxyType({})

_LENGTH = Layout("<Q")
_JOINED = 64 * 1024
"""Bytes up to which a message and its tensors are copied together, so that they go out at once."""


class TensorHead(msgspec.Struct, array_like=True):
    """A tensor that follows its message in `size` bytes, as `engines.tensor` lays it out."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int


class Line(Generic[Message]):
    """One end of the connection. `wanted`: the type of the messages that come in.

    One thread at a time may send, and one receive.
    """

    def __init__(self, connection: socket.socket, wanted: Any) -> None:
        self._socket = connection
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(tuple[wanted, tuple[TensorHead, ...]]).decode

    def wait_at_most(self, seconds: float) -> None:
        """From now on, what moves no byte for so long raises `TimeoutError`; before the first call, nothing does."""
        self._socket.settimeout(seconds)

    def send(self, message: object, tensors: Tensors = NO_TENSORS) -> None:
        """Raises `OSError` where the other end is gone, `InvalidInputError` for a dtype that has no name."""
        heads, payloads = _packed(tensors) if tensors else ((), ())
        data = self._encode((message, heads))
        parts = [_LENGTH.pack(len(data)), data, *payloads]
        if sum(map(len, parts)) <= _JOINED:
            parts = [b"".join(parts)]
        for part in parts:
            self._socket.sendall(part)

    def receive(self) -> tuple[Message, dict[str, Array]]:
        """Waits for a message and its tensors, without Python's lock; raises `EOFError` where the other end is gone."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        message, heads = self._decode(self._exactly(length))
        return message, {head.name: self._tensor(head) for head in heads}

    def _tensor(self, head: TensorHead) -> Array:
        datatype = data_type(head.datatype)
        if datatype is BYTES:
            return decode_raw(memoryview(self._exactly(head.size)), datatype, head.shape)
        array = np.empty(head.shape, datatype.numpy)
        self._fill(_bytes_of(array))
        return array

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        self._fill(memoryview(data))
        return data

    def _fill(self, view: memoryview) -> None:
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError("the other end of the connection is gone")
            view = view[count:]

    def close(self) -> None:
        """Hangs up; may be called twice."""
        self._socket.close()


def _packed(tensors: Tensors) -> tuple[list[TensorHead], Sequence[bytes | memoryview]]:
    """What is said of the tensors, and their bytes; of large ones views, where they lie in row-major order."""
    heads, payloads = [], []
    for name, array in tensors.items():
        datatype = data_type_of(array)
        copied = datatype is BYTES or array.nbytes <= _JOINED
        payload = encode_raw(array) if copied else _bytes_of(np.ascontiguousarray(array))
        heads.append(TensorHead(name, datatype.name, array.shape, len(payload)))
        payloads.append(payload)
    return heads, payloads


def _bytes_of(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
