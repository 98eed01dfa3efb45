"""The replica with its real threads over small engines; the event loop is the test's."""

import asyncio
import time

import numpy as np
import pytest

from engines.model_config import DynamicBatching
from service.batching.replica import LocalReplica
from service.errors import (
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    QueueFullError,
)
from service.types import InferRequest, Job
from tests.service.batching.gate import Gate, held, job, replica, until, value_of


async def test_backlog_fills_the_next_batch() -> None:
    gate = Gate()
    async with replica(gate) as (made, records):
        first = await held(made, gate)
        tasks = [asyncio.create_task(made.infer(job(n))) for n in range(5)]
        await until(lambda: made.pending == 5)
        gate.open.set()
        assert [value_of(await task) for task in tasks] == [0, 2, 4, 6, 8]
        assert value_of(await first) == 1
        assert gate.batches == [[0.5], [0, 1, 2, 3, 4]]
        await until(lambda: len(records) == 2)
        assert records[1].requests == 5


async def test_one_cancels_one_is_bad_one_is_late_and_the_others_are_answered() -> None:
    gate = Gate()
    async with replica(gate) as (made, _):
        first = await held(made, gate)
        good = [asyncio.create_task(made.infer(job(n))) for n in (1, 2, 3)]
        bad = asyncio.create_task(made.infer(job(-2)))
        poison = asyncio.create_task(made.infer(job(-1)))
        late = asyncio.create_task(made.infer(job(4, deadline=time.monotonic() + 0.05)))
        leaver = asyncio.create_task(made.infer(job(5)))
        await until(lambda: made.pending == 7)
        leaver.cancel()
        with pytest.raises(DeadlineExceededError):
            await late
        gate.open.set()
        assert [value_of(await task) for task in good] == [2, 4, 6]
        assert value_of(await first) == 1
        with pytest.raises(InvalidRequestError, match="bad value"):
            await bad
        with pytest.raises(EngineFailedError, match="poison"):
            await poison
        with pytest.raises(asyncio.CancelledError):
            await leaver
        ran = [value for batch in gate.batches for value in batch]
        assert 4 not in ran
        assert 5 not in ran


async def test_a_wrong_row_count_is_an_error_of_that_request_only() -> None:
    gate = Gate()
    async with replica(gate) as (made, _):
        first = await held(made, gate)
        good, wrong = (asyncio.create_task(made.infer(job(n))) for n in (7, -3))
        await until(lambda: made.pending == 2)
        gate.open.set()
        assert value_of(await good) == 14
        with pytest.raises(EngineFailedError, match="wanted 1 rows"):
            await wrong
        await first


async def test_the_queue_is_bounded() -> None:
    gate = Gate()
    async with replica(gate, max_queue=2) as (made, _):
        first = await held(made, gate)
        waiting = [asyncio.create_task(made.infer(job(n))) for n in range(2)]
        await until(lambda: made.pending == 2)
        with pytest.raises(QueueFullError):
            await made.infer(job(9))
        gate.open.set()
        await asyncio.gather(first, *waiting)


async def test_parts_of_a_request_come_back_in_order() -> None:
    gate = Gate()
    async with replica(gate) as (made, _):
        parts = [{"x": np.array([[n]], np.float32)} for n in range(20)]
        request = InferRequest("gate", {})
        response = await made.infer(Job(request, parts, [1] * 20))
        assert response.outputs["x"][:, 0].tolist() == [2 * n for n in range(20)]


async def test_two_instances_run_at_once() -> None:
    gates = Gate(), Gate()
    async with replica(*gates) as (made, _):
        for gate in gates:
            gate.open.clear()
        tasks = [asyncio.create_task(made.infer(job(1)))]
        await until(lambda: any(gate.entered.is_set() for gate in gates))
        tasks.append(asyncio.create_task(made.infer(job(2))))
        await until(lambda: all(gate.entered.is_set() for gate in gates))
        for gate in gates:
            gate.open.set()
        assert [value_of(response) for response in await asyncio.gather(*tasks)] == [2, 4]


async def test_queue_delay_is_honoured() -> None:
    gate = Gate()
    async with replica(gate, settings=DynamicBatching(max_queue_delay_microseconds=50_000)) as (made, _):
        tasks = [asyncio.create_task(made.infer(job(n))) for n in range(3)]
        await asyncio.gather(*tasks)
        assert gate.batches == [[0, 1, 2]]


async def test_closing_answers_what_waits_then_refuses() -> None:
    gate = Gate()
    async with replica(gate) as (made, _):
        first = await held(made, gate)
        second = asyncio.create_task(made.infer(job(3)))
        await until(lambda: made.pending == 1)
        closing = asyncio.create_task(made.close(5.0))
        await until(lambda: made.fault != "")
        gate.open.set()
        await closing
        assert value_of(await second) == 6
        assert value_of(await first) == 1
        assert gate.closed == 1
        with pytest.raises(ModelUnavailableError):
            await made.infer(job(1))


async def test_many_callers_each_get_their_own_answer() -> None:
    gates = Gate(), Gate()
    async with replica(*gates, max_queue=2000) as (made, records):
        responses = await asyncio.gather(*(made.infer(job(n)) for n in range(1000)))
        assert [value_of(response) for response in responses] == [2 * n for n in range(1000)]
        await until(lambda: sum(record.requests for record in records) == 1000)
        assert max(record.requests for record in records) == 8


async def test_order_of_arrival_is_kept_where_asked() -> None:
    gates = Gate(), Gate()
    done: list[int] = []

    async def ask(made: LocalReplica, value: int) -> None:
        await made.infer(job(value))
        done.append(value)

    async with replica(*gates, settings=DynamicBatching(preserve_ordering=True)) as (made, _):
        for gate in gates:
            gate.open.clear()
        tasks = [asyncio.create_task(ask(made, 1))]
        await until(lambda: any(gate.batches for gate in gates))
        slow, quick = sorted(gates, key=lambda gate: not gate.batches)
        tasks.append(asyncio.create_task(ask(made, 2)))
        await until(lambda: bool(quick.batches))
        quick.open.set()
        await asyncio.sleep(0)
        assert done == []
        slow.open.set()
        await asyncio.gather(*tasks)
        assert done == [1, 2]
