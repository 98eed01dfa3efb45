"""A replica whose engines are lost, hang, or meet poison: with its real threads; the event loop is the test's."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Event

import pytest

from engines.base import Outputs
from engines.batch import Batch
from engines.errors import EngineLostError, EngineMemoryError, ModelLoadError
from service.batching import handover
from service.batching.batcher import Batcher
from service.batching.cost import CostModel, Shape
from service.batching.replica import Identity, LocalReplica
from service.cores import CoreBudget
from service.errors import EngineFailedError, ModelUnavailableError
from service.owner import open_owned
from tests.service.batching.gate import STACKED, Gate, held, job, until, value_of

KILLER, POISON, HUGE = -9.0, -1.0, -8.0


@dataclass
class Forge:
    """Makes engines, of which each may be lost; `opens`: how often it was asked; `broken`: it makes none for now."""

    made: list["Mortal"] = field(default_factory=list)
    broken: Event = field(default_factory=Event)
    opens: int = 0

    def open(self) -> "Mortal":
        self.opens += 1
        if self.broken.is_set():
            raise ModelLoadError("no more engines")
        self.made.append(Mortal())
        return self.made[-1]


class Mortal(Gate):
    """Ends with the value `KILLER` in its batch, or when it is told to `die`."""

    def __init__(self) -> None:
        super().__init__()
        self.die = Event()
        self.warmed = 0

    def warm_up(self) -> None:
        self.warmed += 1

    def run(self, batch: Batch) -> Outputs:
        values = batch.inputs["x"][:, 0]
        if len(values) > 2 and HUGE in values:
            raise EngineMemoryError("does not fit")
        outputs = super().run(batch)
        if self.die.is_set() or KILLER in values:
            raise EngineLostError("the process was killed")
        return outputs


@asynccontextmanager
async def replica(forge: Forge, instances: int = 1) -> AsyncIterator[LocalReplica]:
    cost = CostModel()
    for rows in (1, 8):
        cost.record(Shape(rows), 0.001)
    engines = [open_owned("forge", forge.open) for _ in range(instances)]
    batcher = Batcher(STACKED, cost, 100, instances)
    made = LocalReplica(
        Identity("gate", "1", "test", 1), engines, batcher, CoreBudget(2), time.monotonic, lambda _: None
    )
    try:
        yield made
    finally:
        for engine in forge.made:
            engine.open.set()
        await made.close(5.0)
        assert all(engine.closed for engine in forge.made)


async def test_a_lost_engine_is_opened_anew_and_its_batch_is_answered() -> None:
    forge = Forge()
    async with replica(forge) as made:
        first = await held(made, forge.made[0])
        tasks = [asyncio.create_task(made.infer(job(n))) for n in range(3)]
        await until(lambda: made.pending == 3)
        forge.made[0].die.set()
        forge.made[0].open.set()
        assert value_of(await first) == 1
        assert [value_of(await task) for task in tasks] == [0, 2, 4]
        await until(lambda: made.faults.restarts == 1)
        assert forge.made[0].closed == 1
        assert forge.made[1].warmed == 1
        assert forge.made[1].batches[0] == [0.5]


async def test_the_others_serve_while_one_is_opened_anew() -> None:
    forge = Forge()
    async with replica(forge, instances=2) as made:
        forge.broken.set()
        for engine in forge.made:
            engine.open.clear()
        tasks = [asyncio.create_task(made.infer(job(n))) for n in range(2)]
        await until(lambda: any(engine.batches for engine in forge.made))
        lost = next(engine for engine in forge.made if engine.batches)
        other = next(engine for engine in forge.made if engine is not lost)
        other.open.set()
        lost.die.set()
        lost.open.set()
        assert [value_of(await task) for task in tasks] == [0, 2]
        await until(lambda: forge.opens > 2)
        assert made.fault == ""
        assert value_of(await made.infer(job(5))) == 10
        forge.broken.clear()
        await until(lambda: made.faults.restarts == 1)


async def test_the_one_that_kills_engines_is_found_and_refused_and_its_neighbours_are_answered() -> None:
    forge = Forge()
    async with replica(forge) as made:
        first = await held(made, forge.made[0])
        good = [asyncio.create_task(made.infer(job(n))) for n in (1, 2, 3)]
        killer = asyncio.create_task(made.infer(job(KILLER)))
        await until(lambda: made.pending == 4)
        forge.made[0].open.set()
        assert [value_of(await task) for task in (first, *good)] == [1, 2, 4, 6]
        with pytest.raises(EngineFailedError, match="lost 2 times") as failed:
            await killer
        assert not failed.value.retryable
        await until(lambda: made.fault == "")
        opens = forge.opens
        with pytest.raises(EngineFailedError, match="refused for another"):
            await made.infer(job(KILLER))
        assert forge.opens == opens == 4
        assert (made.faults.poison, made.faults.quarantined) == (1, 1)


async def test_without_any_engine_it_says_so_and_what_waits_is_told() -> None:
    forge = Forge()
    async with replica(forge) as made:
        first = await held(made, forge.made[0])
        forge.broken.set()
        forge.made[0].die.set()
        forge.made[0].open.set()
        with pytest.raises(ModelUnavailableError, match="no more engines") as failed:
            await first
        assert failed.value.retry_after > 0
        assert "no more engines" in made.fault
        with pytest.raises(ModelUnavailableError, match="being opened anew"):
            await made.infer(job(1))
        forge.broken.clear()
        await until(lambda: made.fault == "")
        assert value_of(await made.infer(job(1))) == 2


async def test_closing_while_no_engine_can_be_opened_ends() -> None:
    forge = Forge()
    async with replica(forge) as made:
        first = await held(made, forge.made[0])
        forge.broken.set()
        forge.made[0].die.set()
        forge.made[0].open.set()
        with pytest.raises(ModelUnavailableError):
            await first
        async with asyncio.timeout(3):
            await made.close(60.0)


async def test_closing_answers_what_lost_its_engine() -> None:
    forge = Forge()
    async with replica(forge) as made:
        first = await held(made, forge.made[0])
        closing = asyncio.create_task(made.close(10.0))
        await until(lambda: made.fault != "")
        forge.made[0].die.set()
        forge.made[0].open.set()
        assert value_of(await first) == 1
        await closing


async def test_a_poison_row_is_refused_at_once_the_next_time() -> None:
    forge = Forge()
    async with replica(forge) as made:
        first = await held(made, forge.made[0])
        tasks = [asyncio.create_task(made.infer(job(n))) for n in (3, POISON)]
        await until(lambda: made.pending == 2)
        forge.made[0].open.set()
        assert [value_of(await task) for task in (first, tasks[0])] == [1, 6]
        with pytest.raises(EngineFailedError, match="poison") as failed:
            await tasks[1]
        assert not failed.value.retryable
        ran = len(forge.made[0].batches)
        with pytest.raises(EngineFailedError, match="refused for another"):
            await made.infer(job(POISON))
        assert len(forge.made[0].batches) == ran


async def test_a_row_that_fails_alone_twice_while_others_are_answered_is_poison() -> None:
    forge = Forge()
    async with replica(forge) as made:
        with pytest.raises(EngineFailedError) as failed:
            await made.infer(job(POISON))
        assert failed.value.retryable
        await made.infer(job(1))
        with pytest.raises(EngineFailedError) as failed:
            await made.infer(job(POISON))
        assert not failed.value.retryable
        assert made.faults.poison == 1


async def test_a_batch_that_does_not_fit_makes_the_next_ones_smaller() -> None:
    forge = Forge()
    async with replica(forge) as made:
        for _ in range(2):
            first = await held(made, forge.made[0])
            tasks = [asyncio.create_task(made.infer(job(n))) for n in (HUGE, 1, 2, 3, 4, 5)]
            await until(lambda: made.pending == 6)
            forge.made[0].open.set()
            assert [value_of(await task) for task in tasks] == [2 * HUGE, 2, 4, 6, 8, 10]
            await first
        sizes = [len(batch) for batch in forge.made[0].batches]
        assert made.faults.memory_errors == 2
        assert sizes[-6:] == [1] * 6


async def test_engines_that_make_no_progress_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "HANG", 0.0)
    forge = Forge()
    async with replica(forge) as made:
        assert made.fault == ""
        first = await held(made, forge.made[0])
        await until(lambda: "no progress" in made.fault)
        forge.made[0].open.set()
        await first
        await until(lambda: made.fault == "")


async def test_answers_say_what_was_predicted_and_what_it_was() -> None:
    forge = Forge()
    async with replica(forge) as made:
        timing = (await made.infer(job(1))).timing
        assert 0 < timing.predicted.seconds < timing.predicted.p95
        assert timing.actual >= timing.queue + timing.compute > 0
        assert made.predict(1).p95 > 0
        assert made.calibration.predictions == 1
