"""A request of the differential test, and what a server answers to it."""

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tritonclient.grpc import service_pb2_grpc

from tests.conformance.served import Served

SECONDS = 10.0
"""That one answer may take."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`status`: of HTTP or gRPC. `body`: parsed JSON, text where it is none. `tail`: the binary tensors behind it."""

    status: str
    body: Any
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class Http:
    """One HTTP request. `name`: tells it from all others."""

    name: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    method: str = ""

    def ask(self, server: Served) -> Seen:
        """Asks on a connection of its own."""
        connection = http.client.HTTPConnection(server.http, timeout=SECONDS)
        try:
            method = self.method or ("GET" if self.body is None else "POST")
            connection.request(method, self.path, self.body, self.headers)
            answer = connection.getresponse()
            return _seen(str(answer.status), answer.read(), answer.headers["inference-header-content-length"])
        finally:
            connection.close()


def _seen(status: str, body: bytes, length: str | None) -> Seen:
    head = body if length is None else body[: int(length)]
    try:
        return Seen(status, json.loads(head), body[len(head) :])
    except ValueError:
        return Seen(status, head.decode("latin-1"), body[len(head) :])


@dataclass(frozen=True, slots=True)
class Grpc:
    """One gRPC call. `messages`: one, or those of a ModelStreamInfer."""

    name: str
    rpc: str
    messages: tuple[Message, ...]

    def ask(self, server: Served) -> Seen:
        """Asks on a channel of its own."""
        with grpc.insecure_channel(server.grpc) as channel:
            method = getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), self.rpc)
            try:
                if self.rpc == "ModelStreamInfer":
                    return Seen("OK", [_plain(message) for message in method(iter(self.messages), timeout=SECONDS)])
                return Seen("OK", _plain(method(self.messages[0], timeout=SECONDS)))
            except grpc.RpcError as error:
                return Seen(error.code().name, error.details())


def _plain(message: Message) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)


Exchange = Http | Grpc
