"""What Triton's statistics extension tells, counted from requests that were really answered."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from service.errors import BatchyardError, ModelUnavailableError, NotFoundError
from service.gateway import Gateway
from service.routing.policies import ordered
from service.routing.route import Route
from service.telemetry.metrics import Metrics
from service.telemetry.statistics import ModelStatistics
from service.types import InferRequest, InferResponse, Timing
from tests.conformance import repository
from tests.service.test_runtime import ENSEMBLE, IDENTITY, Write, request, started

DELAY = 'parameters { key: "batchyard.identity.delay_ms" value { string_value: "20" } }'


def rows(model: str, count: int, name: str = "INPUT0") -> InferRequest:
    return InferRequest(model, {name: np.ones((count, 2), np.float32)})


def of(gateway: Gateway, name: str) -> ModelStatistics:
    (found,) = gateway.statistics(name)
    return found


async def test_requests_rows_and_batches(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2) + DELAY)
    async with started(tmp_path) as (_, gateway):
        assert of(gateway, "first") == ModelStatistics("first", "1")
        for count in (1, 3, 3):
            await gateway.infer(rows("first", count))
        told = of(gateway, "first")
    assert (told.inference_count, told.execution_count) == (7, 3)
    assert told.last_inference > 1_600_000_000_000
    parts = (told.success, told.queue, told.compute_input, told.compute_infer, told.compute_output)
    assert [part.count for part in parts] == [3] * 5
    assert told.fail.count == told.cache_hit.count == told.cache_miss.count == 0
    assert told.compute_infer.ns >= 60e6
    assert told.success.ns >= sum(part.ns for part in parts[1:])
    assert [(size, batch.compute_infer.count) for size, batch in told.batches.items()] == [(1, 1), (3, 2)]
    assert told.batches[3].compute_infer.ns >= 40e6
    assert all(0 < batch.compute_input.ns < batch.compute_infer.ns for batch in told.batches.values())


async def test_each_request_of_a_batch_has_all_of_its_time(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2) + DELAY)
    async with started(tmp_path) as (_, gateway):
        await asyncio.gather(*(gateway.infer(rows("first", 1)) for _ in range(9)))
        told = of(gateway, "first")
    assert told.execution_count < 9
    assert sum(size * batch.compute_infer.count for size, batch in told.batches.items()) == told.inference_count == 9
    in_batches = sum(batch.compute_infer.ns for batch in told.batches.values())
    assert told.compute_infer.ns > in_batches * 1.5
    assert told.queue.ns > 0


async def test_a_failed_request_counts_as_failed_only(tmp_path: Path, write: Write) -> None:
    poison = 'parameters { key: "batchyard.identity.fail_on_value" value { string_value: "7" } }'
    write("first", IDENTITY.format(dims=2) + poison)
    async with started(tmp_path) as (_, gateway):
        await gateway.infer(rows("first", 2))
        bad = InferRequest("first", {"INPUT0": np.array([[7, 7]], np.float32)})
        with pytest.raises(BatchyardError):
            await gateway.infer(bad)
        with pytest.raises(BatchyardError):
            await gateway.infer(InferRequest("first", {}))
        told = of(gateway, "first")
    assert (told.success.count, told.fail.count, told.queue.count) == (1, 1, 1), "Triton counts no malformed request"
    assert (told.inference_count, told.execution_count) == (2, 2)
    assert told.fail.ns > 0


async def test_an_ensemble_counts_itself_and_its_steps(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2) + DELAY)
    write("second", IDENTITY.format(dims=2))
    write("chain", ENSEMBLE.replace('"both"', '"first"'))
    async with started(tmp_path) as (_, gateway):
        await gateway.infer(rows("chain", 3, "IN"))
        chain, first, second = (of(gateway, name) for name in ("chain", "first", "second"))
    assert [(one.inference_count, one.execution_count, one.success.count) for one in (chain, first, second)] == [
        (3, 1, 1)
    ] * 3
    assert chain.queue.ns == 0
    assert chain.compute_infer.ns == pytest.approx(first.compute_infer.ns + second.compute_infer.ns, abs=10)
    assert list(chain.batches) == [3]


async def test_a_stream_of_one_answer_counts_as_a_request(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    async with started(tmp_path) as (_, gateway):
        responses = await gateway.stream(rows("first", 2))
        while await responses.read() is not None:
            pass
        responses.close()
        told = of(gateway, "first")
    assert (told.success.count, told.compute_infer.count, told.inference_count, told.fail.count) == (1, 1, 2, 0)


async def test_versions_routes_and_names(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2) + "version_policy { all { } }", "1", "2")
    write("second", IDENTITY.format(dims=2))
    async with started(tmp_path, Route("both", ("first", "second"), ordered)) as (runtime, gateway):
        await gateway.infer(request("first", version="1"))
        assert [(one.name, one.version) for one in gateway.statistics()] == [
            ("first", "1"),
            ("first", "2"),
            ("second", "1"),
        ]
        assert [one.success.count for one in gateway.statistics("first")] == [1, 0]
        assert [one.version for one in gateway.statistics("first", "2")] == ["2"]
        assert gateway.statistics("both") == gateway.statistics()
        with pytest.raises(NotFoundError):
            gateway.statistics("first", "3")
        with pytest.raises(NotFoundError):
            gateway.statistics("third")
        await runtime.load("first")
        assert [one.success.count for one in gateway.statistics("first")] == [0, 0], "as in Triton"
        await runtime.unload("second")
        with pytest.raises(ModelUnavailableError) as caught:
            gateway.statistics("second")
        assert caught.value.triton == "requested model 'second' is not available"


def test_nanoseconds_are_exact() -> None:
    metrics = Metrics(lambda: 12.5)
    response = InferResponse("first", "1", {}, timing=Timing(0.001, 0.004, input=0.0005, output=0.0015))
    for _ in range(1000):
        metrics.answered(response, {}, 0.006)
    told = metrics.statistics("first", "1")
    assert (told.success.count, told.success.ns) == (1000, 6_000_000_000)
    assert (told.queue.ns, told.compute_input.ns) == (1_000_000_000, 500_000_000)
    assert (told.compute_infer.ns, told.compute_output.ns) == (2_000_000_000, 1_500_000_000)


async def test_a_request_that_the_model_refuses_failed_though_it_is_the_callers_fault(
    tmp_path: Path, write: Write
) -> None:
    repository.write(tmp_path, "python", ["execute_error"])
    async with started(tmp_path) as (_, gateway):
        for value in (1, -1, -2):
            asked = gateway.infer(InferRequest("execute_error", {"INPUT0": np.array([[value]], np.int32)}))
            if value > 0:
                await asked
            else:
                with pytest.raises(BatchyardError):
                    await asked
        told = of(gateway, "execute_error")
    assert (told.success.count, told.fail.count) == (1, 2)
    assert (told.inference_count, told.execution_count, told.batches[1].compute_infer.count) == (1, 3, 3)
    assert told.compute_input.ns > 0
