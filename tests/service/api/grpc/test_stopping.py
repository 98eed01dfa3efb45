"""The server stops: what is in hand is answered, the rest is told so."""

import threading
from collections.abc import Coroutine
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from service.api.grpc.connections import GrpcConnections
from service.api.grpc.server import GrpcServer
from service.api.limits import Limits
from service.api.manner import own_manner
from service.api.operations import Operations
from service.limit_settings import DEFAULT_LIMITS
from service.listener import bind
from tests.service.api.grpc.gateways import GrpcGateway
from tests.service.api.grpc.serving import GrpcAddress, serve_grpc
from tests.service.api.grpc.test_stream import request_of, told

Live = service_pb2.ServerLiveRequest


@pytest.fixture
def own(gateway: GrpcGateway) -> Any:
    """A server of the test's own."""
    with serve_grpc(gateway) as address:
        yield address


@pytest.fixture
def stub(own: GrpcAddress) -> Any:
    with grpc.insecure_channel(own.url) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def soon(address: GrpcAddress, work: Coroutine[Any, Any, None]) -> threading.Thread:
    thread = threading.Thread(target=address.run, args=(work,), daemon=True)
    thread.start()
    return thread


def test_what_is_in_hand_is_answered_and_new_calls_are_not(own: GrpcAddress, stub: Any) -> None:
    slow = stub.ModelInfer.future(request_of("identity"))
    slow.result(10)
    stream = stub.ModelStreamInfer(iter([request_of("identity", "a", delay_ms=500)]))
    asked = iter([request_of("identity", "b", delay_ms=500)])
    ended = threading.Event()

    def keeps_open() -> Any:
        yield from asked
        ended.wait(20)

    open_stream = stub.ModelStreamInfer(keeps_open())
    idle = stub.ModelStreamInfer(iter(lambda: ended.wait(20) and None, None))
    while len(own.server._in_hand.tasks) < 3:
        ended.wait(0.001)
    ended.wait(0.05)
    stopping = soon(own, own.server.stop(20))
    while not own.server._in_hand.closing:
        ended.wait(0.001)
    with pytest.raises(grpc.RpcError, match="is stopping and takes no more requests") as caught:
        stub.ServerLive(Live())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert told(next(stream))[0] == "a"
    with pytest.raises(StopIteration):
        next(stream)
    assert told(next(open_stream))[0] == "b"
    for left in (open_stream, idle):
        with pytest.raises(grpc.RpcError) as caught:
            next(left)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "is stopping" in caught.value.details()
    ended.set()
    stopping.join(20)
    assert not stopping.is_alive()


def test_what_has_no_time_left_is_told_so(own: GrpcAddress, stub: Any, gateway: GrpcGateway) -> None:
    call = stub.ModelInfer.future(request_of("slow"))
    stream = stub.ModelStreamInfer(iter([request_of("slow")]))
    for _ in range(2):
        assert gateway.asked.acquire(timeout=10)
    own.run(own.server.stop(0.1))
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    for failed in (call.exception(10), caught.value):
        assert failed.code() is grpc.StatusCode.UNAVAILABLE
        assert failed.details() == "the server is stopping and had no time left to answer; ask again"
    for _ in range(2):
        assert gateway.cancelled.acquire(timeout=10)


def test_nobody_keeps_an_idle_server_waiting(own: GrpcAddress, stub: Any) -> None:
    assert stub.ServerLive(Live()).live
    with grpc.insecure_channel(own.url) as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert next(watch) == b"\x08\x01"
        stopping = soon(own, own.server.stop(600))
        stopping.join(10)
        assert not stopping.is_alive()
        with pytest.raises(StopIteration):
            next(watch)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ServerLive(Live(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_port_that_is_taken_is_noticed(own: GrpcAddress, gateway: GrpcGateway) -> None:
    """By who binds it, and by who lost it between binding and serving."""
    host, _, port = own.url.rpartition(":")
    with pytest.raises(OSError, match="Address already in use"):
        bind(host, int(port))
    with bind(host, 0) as bound, bind(host, bound.getsockname()[1]) as other:
        other.listen()
        connections = GrpcConnections(10, DEFAULT_LIMITS)
        server = GrpcServer(gateway, Limits(), Operations(), own_manner(), connections)  # type: ignore[arg-type]
        with pytest.raises(OSError, match=r"Failed to bind"):
            await server.start(bound)
