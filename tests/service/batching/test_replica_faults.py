"""A replica whose composer fails, whose engine hangs, or that is closed while requests wait."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

import pytest

from engines.model_config import DynamicBatching, QueuePolicy
from service.batching.batcher import Batcher
from service.batching.compose import Composition, StackComposer
from service.batching.cost import CostModel
from service.batching.replica import Identity, LocalReplica
from service.batching.ticket import Ticket
from service.cores import CoreBudget
from service.errors import (
    DeadlineExceededError,
    EngineFailedError,
    ModelUnavailableError,
)
from service.owner import open_owned
from tests.service.batching.gate import STACKED, Gate, given, held, job, replica, until, value_of


class Brittle(StackComposer):
    """Cannot make a batch of the value 13, nor lay out 14 again."""

    def compose(self, waiting: Sequence[Ticket], cost: CostModel, now: float) -> Composition:
        if any(value_in(ticket) == 13 for ticket in waiting):
            raise ValueError("thirteen")
        return super().compose(waiting, cost, now)

    def arrange(self, tickets: Sequence[Ticket]) -> Composition:
        if [value_in(ticket) for ticket in tickets] == [14, -1]:
            raise ValueError("fourteen")
        return super().arrange(tickets)


def value_in(ticket: Ticket) -> float:
    return float(ticket.tensors["x"][0, 0])


async def test_what_cannot_be_composed_fails_alone_and_the_model_goes_on() -> None:
    gate = Gate()
    async with replica(gate, composer=Brittle(8)) as (made, _):
        first = await held(made, gate)
        tasks = [asyncio.create_task(made.infer(job(n))) for n in (13, 5)]
        await until(lambda: made.pending == 2)
        gate.open.set()
        async with asyncio.timeout(10):
            with pytest.raises(EngineFailedError, match="thirteen"):
                await tasks[0]
            assert value_of(await tasks[1]) == 10
            await first


async def test_what_cannot_be_laid_out_again_fails_and_the_model_goes_on() -> None:
    gate = Gate()
    async with replica(gate, composer=Brittle(8)) as (made, _):
        first = await held(made, gate)
        tasks = [asyncio.create_task(made.infer(job(n))) for n in (14, -1, 5, 6)]
        await until(lambda: made.pending == 4)
        gate.open.set()
        async with asyncio.timeout(10):
            for task in tasks[:2]:
                with pytest.raises(EngineFailedError, match="fourteen"):
                    await task
            assert [value_of(await task) for task in tasks[2:]] == [10, 12]
            await first


async def test_closing_answers_what_waits_for_the_queue_delay() -> None:
    gate = Gate()
    async with replica(gate, settings=DynamicBatching(max_queue_delay_microseconds=100_000)) as (made, _):
        waiting = asyncio.create_task(made.infer(job(3)))
        await until(lambda: made.pending == 1)
        await made.close(5.0)
        assert value_of(await waiting) == 6


async def test_closing_tells_those_whose_time_in_the_queue_is_over() -> None:
    gate = Gate()
    settings = DynamicBatching(default_queue_policy=QueuePolicy("REJECT", 1000))
    async with replica(gate, settings=settings) as (made, _):
        first = await held(made, gate)
        late = asyncio.create_task(made.infer(job(3)))
        await until(lambda: made.pending == 1)
        arrived = time.monotonic()
        closing = asyncio.create_task(made.close(5.0))
        await until(lambda: made.fault != "" and time.monotonic() > arrived + 0.002)
        gate.open.set()
        await closing
        async with asyncio.timeout(10):
            with pytest.raises(DeadlineExceededError, match="in the queue"):
                await late
            await first


async def test_closing_fails_what_the_engine_does_not_finish_in_time() -> None:
    gate = Gate()
    async with replica(gate) as (made, _):
        first = await held(made, gate)
        await made.close(0.0)
        async with asyncio.timeout(10):
            with pytest.raises(ModelUnavailableError, match="unloaded"):
                await first


def test_an_engine_that_outlives_the_event_loop_is_still_closed() -> None:
    gate = Gate()
    engine = open_owned("gate", partial(given, gate))

    async def leave() -> None:
        batcher = Batcher(STACKED, CostModel(), 100)
        made = LocalReplica(
            Identity("gate", "1", "test", 1), [engine], batcher, CoreBudget(2), time.monotonic, lambda _: None
        )
        first = await held(made, gate)
        await made.close(0.0)
        with pytest.raises(ModelUnavailableError):
            await first

    asyncio.run(leave())
    gate.open.set()
    engine.owner.join(10)
    assert gate.closed == 1
