"""Models that another Batchyard runs, over gRPC and HTTP."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from service.errors import (
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    LoadFailedError,
    ModelUnavailableError,
    RetryLaterError,
)
from service.routing.policies import ordered
from service.routing.route import Route
from service.types import InferRequest
from tests.e2e.processes import Server, serving
from tests.service.remote.conftest import identities
from tests.service.remote.gateways import floats, gateway_over, remote_model, running, series, total
from tests.triton.server import free_ports


async def test_it_answers_as_if_the_model_were_here(tmp_path: Path, url: str) -> None:
    remote_model(tmp_path, "quick", urls=url)
    async with gateway_over(tmp_path) as (gateway, metrics):
        info = gateway.model("quick")
        assert (info.ready, info.backend, info.signature.max_batch_size) == (True, "triton", 64)
        answers = await asyncio.gather(*(gateway.infer(floats("quick", number, -1)) for number in range(100)))
        assert [answer.outputs["OUTPUT0"].tolist() for answer in answers] == [[[n, -1]] for n in range(100)]
        assert {(answer.model, answer.version, answer.engine) for answer in answers} == {("quick", "1", "triton")}
        text, _ = metrics.exposition()
        assert list(series(text, "batchyard_endpoint_up").values()) == [1]
        assert list(series(text, "batchyard_endpoint_requests_total").values()) == [100]
        assert list(series(text, "batchyard_endpoint_in_flight").values()) == [0]


async def test_a_name_there_of_its_own_and_a_route_here(tmp_path: Path, url: str) -> None:
    remote_model(tmp_path, "first", urls=url, model="quick", version="1")
    remote_model(tmp_path, "second", urls=url, model="quick")
    async with gateway_over(tmp_path, Route("both", ("first", "second"), ordered)) as (gateway, _):
        answer = await gateway.infer(floats("both", 5))
        assert (answer.model, answer.outputs["OUTPUT0"].tolist()) == ("first", [[5]])


async def test_what_goes_wrong_there_is_said_here(tmp_path: Path, url: str) -> None:
    remote_model(tmp_path, "failing", urls=url)
    remote_model(tmp_path, "missing", urls=url)
    other = 'max_batch_size: 64 input { name: "Q" data_type: TYPE_FP32 dims: [ 1 ] }\n'
    remote_model(tmp_path, "wrong", other, urls=url, model="quick")
    async with gateway_over(tmp_path) as (gateway, _):
        with pytest.raises(EngineFailedError, match="the model's server failed on this request"):
            await gateway.infer(floats("failing", 13))
        assert (await gateway.infer(floats("failing", 14))).outputs["OUTPUT0"].tolist() == [[14]]
        with pytest.raises(InvalidRequestError, match="unknown input"):
            await gateway.infer(misnamed())
        assert "missing" in gateway.model("missing").reason
        with pytest.raises(ModelUnavailableError, match="none of its servers can be asked"):
            await gateway.infer(floats("missing", 1))
        assert "no input 'Q'" in gateway.model("wrong").reason


async def test_a_deadline_goes_with_the_request(tmp_path: Path, url: str) -> None:
    remote_model(tmp_path, "slow", urls=url)
    async with gateway_over(tmp_path) as (gateway, metrics):
        start = time.monotonic()
        with pytest.raises((DeadlineExceededError, RetryLaterError)):
            await gateway.infer(floats("slow", 1, seconds=0.3))
        assert time.monotonic() - start < 1.4
        text, _ = metrics.exposition()
        assert list(series(text, "batchyard_endpoint_in_flight").values()) == [0]


async def test_a_caller_that_leaves_is_gone_there_too(tmp_path: Path, url: str, batchyard: Server) -> None:
    remote_model(tmp_path, "slow", urls=url)
    name, label = "nv_inference_request_failure", 'model="slow",version="1",reason="CANCELED"'
    async with gateway_over(tmp_path) as (gateway, _):
        before = total(batchyard.port, name, label)
        task = asyncio.create_task(gateway.infer(floats("slow", 1)))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            while await asyncio.to_thread(total, batchyard.port, name, label) == before:  # noqa: ASYNC110 - not our process
                await asyncio.sleep(0.05)


async def test_requests_are_batched_here_where_that_is_asked_for(tmp_path: Path, url: str, batchyard: Server) -> None:
    extra = "max_batch_size: 32 dynamic_batching { } instance_group { count: 2 kind: KIND_CPU }\n"
    remote_model(tmp_path, "quick", extra, urls=url)
    name, label = "nv_inference_request_success", 'model="quick"'
    before = total(batchyard.port, name, label)
    async with gateway_over(tmp_path) as (gateway, _):
        answers = await asyncio.gather(*(gateway.infer(floats("quick", number, 1)) for number in range(150)))
        assert [answer.outputs["OUTPUT0"].tolist() for answer in answers] == [[[n, 1]] for n in range(150)]
        assert max(answer.timing.batch_size for answer in answers) > 10
    assert 5 <= total(batchyard.port, name, label) - before < 100


async def test_a_model_whose_server_comes_later_is_opened_then(tmp_path: Path) -> None:
    ports = free_ports()
    remote_model(tmp_path / "here", "quick", urls=f"grpc://127.0.0.1:{ports.grpc}")
    there = identities(tmp_path / "there")
    async with gateway_over(tmp_path / "here", Route("both", ("quick",), ordered)) as (gateway, _):
        assert f"grpc://127.0.0.1:{ports.grpc}: failed to connect" in gateway.model("quick").reason
        with pytest.raises(ModelUnavailableError, match="failed to connect"):
            await gateway.infer(floats("both", 1))
        listen = ("--grpc-port", str(ports.grpc), "--drain-seconds", "0")
        with await asyncio.to_thread(lambda: serving(tmp_path, there, *listen)):
            async with asyncio.timeout(20):
                while not gateway.model("quick").ready:  # noqa: ASYNC110 - as a caller would
                    await asyncio.sleep(0.05)
            assert (await gateway.infer(floats("both", 1))).outputs["OUTPUT0"].tolist() == [[1]]
            assert gateway.model("quick").signature.max_batch_size == 64


@pytest.mark.parametrize("before", ["waiting", "unloaded"])
async def test_a_load_that_found_no_server_goes_on_waiting(tmp_path: Path, before: str) -> None:
    ports = free_ports()
    remote_model(tmp_path / "here", "quick", urls=f"grpc://127.0.0.1:{ports.grpc}")
    there = identities(tmp_path / "there")
    async with running(tmp_path / "here") as (runtime, gateway):
        if before == "unloaded":
            await runtime.unload("quick")
        for _ in range(2):
            with pytest.raises(LoadFailedError, match="none of its servers can be asked"):
                await runtime.load("quick")
        assert gateway.model("quick").reason.startswith("none of its servers can be asked")
        listen = ("--grpc-port", str(ports.grpc), "--drain-seconds", "0")
        with await asyncio.to_thread(lambda: serving(tmp_path, there, *listen)):
            async with asyncio.timeout(20):
                while not gateway.model("quick").ready:  # noqa: ASYNC110 - as a caller would
                    await asyncio.sleep(0.05)
            assert (await gateway.infer(floats("quick", 1))).outputs["OUTPUT0"].tolist() == [[1]]


def misnamed() -> InferRequest:
    request = floats("failing", 1)
    request.inputs = {"Q": np.zeros((1, 1), np.float32)}
    return request
