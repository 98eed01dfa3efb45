"""Every method of the two services, and who answers it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.wrappers_pb2 import StringValue
from tritonclient.grpc import service_pb2

from service.api.grpc.calls import Call, Context, Reception
from service.api.grpc.wire import parse
from service.api.scopes import GRPC, Needed

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"

Answer = Callable[[Any, Call], Awaitable[Message]]
"""Answers a message with another, or raises."""
AnswerStream = Callable[[Call], Awaitable[None]]
"""Reads and writes a stream itself."""
Watch = Callable[[Any, Call], Awaitable[None]]
"""Answers one message with a stream that it writes itself."""


def inference_service(
    reception: Reception, answers: Mapping[str, Answer], stream: AnswerStream
) -> grpc.GenericRpcHandler:
    """Triton's service: `answers` has each of its methods but ModelStreamInfer."""
    handlers = {name: _unary(reception, GRPC[name], kind, answers[name]) for name, kind in _unary_methods()}
    handlers["ModelStreamInfer"] = _stream(reception, GRPC["ModelStreamInfer"], stream)
    return grpc.method_handlers_generic_handler(INFERENCE, handlers)


def health_service(reception: Reception, check: Answer, watch: Watch) -> grpc.GenericRpcHandler:
    """gRPC's service for load balancers."""
    handlers = {
        "Check": _unary(reception, GRPC["Check"], StringValue, check),
        "Watch": _watch(reception, GRPC["Watch"], StringValue, watch),
    }
    return grpc.method_handlers_generic_handler(HEALTH, handlers)


def _unary_methods() -> Iterator[tuple[str, type[Message]]]:
    """The methods with the class of their request, as the generated service has them."""
    for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        if not method.client_streaming:
            yield method.name, GetMessageClass(method.input_type)


def _unary(reception: Reception, needed: Needed, kind: type[Message], answer: Answer) -> Any:
    async def work(body: bytes, call: Call) -> bytes:
        message = kind()
        parse(body, message)
        return (await answer(message, call)).SerializeToString()

    async def run(body: bytes, context: Context) -> bytes | None:
        return await reception.run(context, needed, lambda call: work(body, call))

    return grpc.unary_unary_rpc_method_handler(run)


def _stream(reception: Reception, needed: Needed, answer: AnswerStream) -> Any:
    async def run(_: object, context: Context) -> None:
        await reception.run(context, needed, answer)

    return grpc.stream_stream_rpc_method_handler(run)


def _watch(reception: Reception, needed: Needed, kind: type[Message], watch: Watch) -> Any:
    async def work(body: bytes, call: Call) -> None:
        message = kind()
        parse(body, message)
        await watch(message, call)

    async def run(body: bytes, context: Context) -> None:
        await reception.run(context, needed, lambda call: work(body, call))

    return grpc.unary_stream_rpc_method_handler(run)
