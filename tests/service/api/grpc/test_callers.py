"""Callers that leave, are in a hurry, or are many."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import grpc.aio
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from service.api.grpc.connections import GrpcConnections
from service.limit_settings import DEFAULT_LIMITS
from tests.service.api.grpc.gateways import GrpcGateway
from tests.service.api.grpc.serving import GrpcAddress, serve_grpc
from tests.service.api.grpc.test_infer import given
from tests.service.api.grpc.test_stream import request_of

Stub = service_pb2_grpc.GRPCInferenceServiceStub
ONE = np.ones((1, 1), np.float32)


def test_a_caller_that_cancels_ends_the_work(stub: Stub, gateway: GrpcGateway) -> None:
    call = stub.ModelInfer.future(request_of("slow"))
    assert gateway.asked.acquire(timeout=10)
    call.cancel()
    assert gateway.cancelled.acquire(timeout=10)


def test_a_connection_that_ends_ends_the_work(served: GrpcAddress, gateway: GrpcGateway) -> None:
    channel = grpc.insecure_channel(served.url)
    call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(request_of("slow"))
    assert gateway.asked.acquire(timeout=10)
    channel.close()
    assert gateway.cancelled.acquire(timeout=10)
    assert call.code() is grpc.StatusCode.CANCELLED


def test_a_deadline_that_passes_ends_the_work(client: triton.InferenceServerClient, gateway: GrpcGateway) -> None:
    before = gateway.clock()
    with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
        client.infer("slow", [given(ONE)], client_timeout=1)
    assert gateway.asked.acquire(timeout=10)
    assert gateway.cancelled.acquire(timeout=10)
    assert gateway.last is not None
    assert gateway.last.deadline <= before + 1.5


def test_many_threads(client: triton.InferenceServerClient) -> None:
    def ask(number: int) -> bool:
        result = client.infer("identity", [given(ONE * number)], request_id=str(number))
        return result.get_response().id == str(number) and result.as_numpy("OUTPUT0").tolist() == [[number]]

    with ThreadPoolExecutor(100) as pool:
        assert all(pool.map(ask, range(200)))


async def test_many_calls_on_one_loop(served: GrpcAddress) -> None:
    async with triton_aio.InferenceServerClient(served.url) as client:
        results = await asyncio.gather(*(client.infer("identity", [given(ONE * n)]) for n in range(100)))
    assert [result.as_numpy("OUTPUT0").item() for result in results] == list(range(100))


def test_calls_that_one_connection_has_open_are_bounded(gateway: GrpcGateway) -> None:
    """The third waits with the caller until one of the two is over."""
    with (
        serve_grpc(gateway, connections=GrpcConnections(2, DEFAULT_LIMITS)) as address,
        grpc.insecure_channel(address.url) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ModelInfer(request_of("identity"))
        open_ = [stub.ModelInfer.future(request_of("slow")) for _ in range(2)]
        for _ in open_:
            assert gateway.asked.acquire(timeout=10)
        third = stub.ModelInfer.future(request_of("identity"))
        with pytest.raises(grpc.FutureTimeoutError):
            third.result(0.2)
        open_[0].cancel()
        assert third.result(10)
        open_[1].cancel()
        for _ in open_:
            assert gateway.cancelled.acquire(timeout=10)


async def test_callers_that_leave_in_the_middle_of_answers_leave_nothing_behind(
    served: GrpcAddress, gateway: GrpcGateway, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(stub: Stub, seconds: float) -> None:
        call = stub.ModelStreamInfer(iter([request_of("identity", delay_ms=n) for n in range(50)]))
        asyncio.get_running_loop().call_later(seconds, call.cancel)
        with suppress(asyncio.CancelledError):
            async for _ in call:
                pass

    async with grpc.aio.insecure_channel(served.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await asyncio.gather(*(ask(stub, 0.001 * number) for number in range(100)))
        assert (await stub.ModelInfer(request_of("identity", "after"))).id == "after"
    for _ in range(1000):
        if not gateway.running and not served.server._in_hand.tasks:
            break
        await asyncio.sleep(0.01)
    assert gateway.running == []
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
