"""What requests to models that take them one by one leave in memory: nothing for the garbage collector to find, and
nothing that the requests beside them hold."""

import asyncio
import gc
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from threading import Event

import pytest

from engines.calls import Call, Response
from engines.errors import ExecutionError
from service.errors import BatchyardError
from tests.service.batching.calls import BAD, Doubling, Later, answer, job, read_all, replica, until


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Stream(Doubling):
    """Gives each call an answer and the end, or the error that its value asks for."""

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        self.open.wait(10)
        for call in calls:
            if call.inputs["x"][0, 0] == BAD:
                call.respond(Response(error=ExecutionError("fails")))
            call.respond(answer(1, final=False))
            call.respond(Response())
        return [None] * len(calls)


async def found_by_the_collector(ask: Callable[[], Awaitable[object]]) -> int:
    await ask()
    gc.collect()
    for _ in range(20):
        await ask()
    await asyncio.sleep(0)
    return gc.collect()


@pytest.mark.parametrize(("number", "seconds"), [(1.0, 60.0), (BAD, 60.0), (1.0, -1.0), (1.0, 0.005)])
@pytest.mark.usefixtures("uncollected")
async def test_a_stream_leaves_no_cycle_however_it_ends(number: float, seconds: float) -> None:
    engine = Stream()
    async with replica(engine, decoupled=True) as (made, _):

        async def ask() -> None:
            if seconds < 1:
                engine.open.clear()
            try:
                responses = await made.stream(job(number, deadline=time.monotonic() + seconds))
                await read_all(responses)
                responses.close()
            except BatchyardError:
                pass
            engine.open.set()

        assert await found_by_the_collector(ask) < 20


@pytest.mark.parametrize("number", [1.0, BAD])
@pytest.mark.usefixtures("uncollected")
async def test_one_answer_leaves_no_cycle(number: float) -> None:
    async with replica(Doubling()) as (made, _):

        async def ask() -> None:
            await asyncio.wait([asyncio.create_task(made.infer(job(number)))])

        assert await found_by_the_collector(ask) < 20


class Gated(Later):
    """Returns from its first run when it is told to, so that what comes meanwhile is one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Event()
        self.sizes: list[int] = []

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        self.sizes.append(len(calls))
        found = super().execute(calls)
        self.gate.wait(10)
        return found


async def test_an_open_call_does_not_hold_the_others_of_its_batch() -> None:
    engine = Gated()
    async with replica(engine, decoupled=True) as (made, _):
        tasks = [asyncio.create_task(made.stream(job(0)))]
        await until(lambda: len(engine.open) == 1)
        jobs = [job(number) for number in (1, 2)]
        held = [weakref.ref(one.parts[0]["x"]) for one in jobs]
        tasks += [asyncio.create_task(made.stream(one)) for one in jobs]
        del jobs
        await until(lambda: made.pending == 2)
        engine.gate.set()
        await until(lambda: len(engine.open) == 3)
        assert engine.sizes == [1, 2]
        await asyncio.to_thread(engine.respond, 1, answer(1))
        (await tasks.pop(1)).close()
        del engine.open[1]
        await until(lambda: held[0]() is None)
        assert held[1]() is not None
        for task in tasks:
            task.cancel()
