"""What a hostile request is: how it is sent, and the class of answer that it must get."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

REFUSED = range(400, 500)
GIVEN = range(200, 300)
EITHER = range(200, 500)
"""Both are right: what matters is that nothing breaks. Used where the protocol leaves the answer open."""
BAD = ("INVALID_ARGUMENT",)


@dataclass(frozen=True, slots=True)
class Http:
    """A well-framed request."""

    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"

    def raw(self) -> bytes:
        """The bytes of it, on a connection that is closed after it."""
        head = [f"{self.method} {self.path} HTTP/1.1", "host: x", "connection: close"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        head.append(f"content-length: {len(self.body)}")
        return "\r\n".join(head).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + self.body


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes on a connection of HTTP, whatever they are. `ends`: the caller sends no more."""

    content: bytes
    ends: bool = False

    def raw(self) -> bytes:
        """The bytes."""
        return self.content


@dataclass(frozen=True, slots=True)
class Grpc:
    """A call of a method of `inference.GRPCInferenceService`, of one message or, as a stream, of several."""

    method: str
    messages: Sequence[Message | bytes]
    metadata: Sequence[tuple[str, str | bytes]] = ()


Ask = Http | Raw | Grpc


@dataclass(frozen=True, slots=True)
class Case:
    """`statuses`: of HTTP as numbers, of gRPC by name, that are right. `words`: what the answer must hold."""

    name: str
    ask: Ask
    statuses: Sequence[int | str]
    words: str = ""


def document(value: Any) -> bytes:
    """JSON as ASCII, NaN and Infinity included, lone surrogates as escapes."""
    return json.dumps(value).encode()


def nested(depth: int, inner: str = "") -> bytes:
    """Lists in lists."""
    return b"[" * depth + inner.encode() + b"]" * depth
