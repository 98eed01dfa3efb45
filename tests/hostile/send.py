"""Sends one request and says how it was answered."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from tritonclient.grpc import service_pb2 as pb

from tests.e2e.processes import Server
from tests.hostile.cases import Ask, Case, Grpc

_WAIT = 60.0
_SERVICE = "/inference.GRPCInferenceService/"
_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@dataclass(frozen=True, slots=True)
class Answer:
    """`status`: of HTTP as a number, "closed" where the connection ended without one; of gRPC by name,
    "REFUSED" where a stream holds an error."""

    status: int | str
    text: str


@dataclass(slots=True)
class Wire:
    """How requests come to a server; `close` it."""

    server: Server
    channel: grpc.Channel

    @classmethod
    def to(cls, server: Server) -> "Wire":
        return cls(server, grpc.insecure_channel(server.grpc, options=_OPTIONS))

    def close(self) -> None:
        self.channel.close()

    def send(self, ask: Ask) -> Answer:
        """Waits for the answer; raises `TimeoutError` where none comes."""
        return self._call(ask) if isinstance(ask, Grpc) else _over_http(self.server.port, ask.raw(), ask)

    def fault(self, case: Case) -> str:
        """Sends it; says what is wrong with the answer, "" for nothing."""
        answer = self.send(case.ask)
        shown = f"{case.name}: {answer.status} {answer.text[:300]!r}"
        if answer.status not in case.statuses:
            return f"{shown}; wanted {list(case.statuses)[:5]}"
        return "" if case.words in answer.text else f"{shown}; wanted {case.words!r}"

    def _call(self, ask: Grpc) -> Answer:
        path = f"{_SERVICE}{ask.method}"
        try:
            if ask.method == "ModelStreamInfer":
                stream: Any = self.channel.stream_stream(path)
                return _of_stream(list(stream(iter(_bytes(ask.messages)), timeout=_WAIT, metadata=ask.metadata)))
            call: Any = self.channel.unary_unary(path)
            return Answer("OK", repr(call(*_bytes(ask.messages), timeout=_WAIT, metadata=ask.metadata)))
        except grpc.RpcError as error:
            return Answer(error.code().name, error.details() or "")


def _of_stream(found: Iterable[bytes]) -> Answer:
    answers = [pb.ModelStreamInferResponse.FromString(one) for one in found]
    errors = [answer.error_message for answer in answers if answer.error_message]
    return Answer("REFUSED" if errors else "OK", "; ".join(errors) or repr(answers))


def _bytes(messages: Iterable[Message | bytes]) -> list[bytes]:
    return [one if isinstance(one, bytes) else one.SerializeToString() for one in messages]


def _over_http(port: int, content: bytes, ask: Ask) -> Answer:
    with socket.create_connection(("127.0.0.1", port), timeout=_WAIT) as connection:
        found = b""
        try:
            connection.sendall(content)
            if getattr(ask, "ends", False):
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                found += piece
        except ConnectionError:
            pass
    head, _, body = found.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        return Answer("closed", found.decode("utf-8", "replace"))
    _check_head(head)
    return Answer(int(head[9:12]), body.decode("utf-8", "replace"))


def _check_head(head: bytes) -> None:
    """No caller writes headers of an answer: each is one of ours, and prints."""
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b": ")
        assert colon, head
        assert name.islower() or name in (b"Allow",), head
        assert not name.startswith(b"x-evil"), head
        assert value.decode("ascii").isprintable(), head
