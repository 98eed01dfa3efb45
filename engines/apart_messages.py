"""What a generator's own process and this one say to each other: msgpack, each message behind its length."""

import socket
from struct import Struct as Layout
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from msgspec import Struct

from engines.generation import Feature
from engines.text_generator import GenerationRequest, GeneratorLimits, Grammar, RequestId, Sampling, TokenEvent

Message = TypeVar("Message")

_LENGTH = Layout("<Q")


class Open(Struct, tag=True):
    """The first command: `folder` of the model's version, its config.pbtxt, and `EngineOptions`."""

    folder: str
    config: str
    device: str
    threads: int
    lone_threads: int


class WarmUp(Struct, tag=True):
    """Warms the generator up."""


class Add(Struct, tag=True):
    """Adds a request under an id of the sender's. Answered where it fails only, so the next step finds that answer.

    `prompt`: INT64 [tokens], little endian.
    """

    request_id: RequestId
    prompt: bytes
    sampling: Sampling
    grammar: Grammar | None

    @classmethod
    def of(cls, request_id: RequestId, request: GenerationRequest) -> "Add":
        """The message of a request."""
        return cls(request_id, request.prompt.astype("<i8").tobytes(), request.sampling, request.grammar)

    def request(self) -> GenerationRequest:
        """The request of a message."""
        return GenerationRequest(np.frombuffer(self.prompt, "<i8").astype(np.int64), self.sampling, self.grammar)


class Cancel(Struct, tag=True):
    """Cancels a request; it is not answered."""

    request_id: RequestId


class Step(Struct, tag=True):
    """Runs a step."""


Command = Open | WarmUp | Add | Cancel | Step


class Ready(Struct, tag=True):
    """The generator is open. `vocabulary`: token ids are below it."""

    limits: GeneratorLimits
    features: list[Feature]
    vocabulary: int


class Done(Struct, tag=True):
    """A command without a result was done."""


class Stepped(Struct, tag=True):
    """What a step brought."""

    events: list[TokenEvent]


class Failed(Struct, tag=True):
    """A command failed. `kind`: the name of a class of `engines.errors`."""

    kind: str
    message: str


Answer = Ready | Done | Stepped | Failed


class Line(Generic[Message]):
    """One end of the connection. `wanted`: the type of the messages that come in."""

    def __init__(self, connection: socket.socket, wanted: Any) -> None:
        self._socket = connection
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(wanted).decode

    def send(self, message: object) -> None:
        """Raises `OSError` where the other end is gone."""
        data = self._encode(message)
        self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> Message:
        """Waits for a message, without Python's lock; raises `EOFError` where the other end is gone."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        message: Message = self._decode(self._exactly(length))
        return message

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError("the other end of the connection is gone")
            view = view[count:]
        return data

    def close(self) -> None:
        """Hangs up; may be called twice."""
        self._socket.close()
