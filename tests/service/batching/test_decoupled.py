"""Requests with any number of answers, of a replica with its real threads."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from engines.calls import Call, Response
from engines.errors import EngineLostError, ExecutionError
from service.batching.losses import LONE_LOSSES
from service.errors import (
    DeadlineExceededError,
    EngineFailedError,
    ModelUnavailableError,
    SlowReaderError,
    UnsupportedError,
)
from service.types import Job, Responses
from tests.service.batching.calls import Doubling, Later, answer, job, read_all, replica, until


async def begun(task: "asyncio.Task[Responses]", engine: Later, *responses: Response) -> Responses:
    """Has the newest call answered, so that its stream begins."""
    await until(lambda: bool(engine.open))
    await asyncio.to_thread(engine.respond, len(engine.open) - 1, *responses)
    return await task


async def test_all_answers_come_in_their_order_and_the_instance_is_free_meanwhile() -> None:
    engine = Later()
    async with replica(engine, decoupled=True) as (made, records):
        one = await begun(asyncio.create_task(made.stream(job(1))), engine, answer(1, final=False))
        task = asyncio.create_task(made.stream(job(2)))
        await until(lambda: len(engine.open) == 2)
        two = await begun(task, engine, answer(10, final=False), answer(11))
        await asyncio.to_thread(engine.respond, 0, answer(2, final=False), Response(), answer(9))
        assert await read_all(one) == [(1, False), (2, False), (None, True)]
        assert await read_all(two) == [(10, False), (11, True)]
        assert await one.read() is None
        assert len(records) == 2
        for responses in (one, two):
            responses.close()
            responses.close()


async def test_no_answer_at_all_is_an_end_like_any_other() -> None:
    engine = Later()
    async with replica(engine, decoupled=True) as (made, _):
        responses = await begun(asyncio.create_task(made.stream(job(1))), engine, Response())
        assert await read_all(responses) == [(None, True)]


async def test_an_error_comes_behind_the_answers_before_it() -> None:
    engine = Later()
    async with replica(engine, decoupled=True) as (made, _):
        task = asyncio.create_task(made.stream(job(1)))
        responses = await begun(task, engine, answer(1, final=False), Response(error=ExecutionError("broke")))
        first = await responses.read()
        assert first is not None
        assert not first.final
        with pytest.raises(EngineFailedError, match="broke"):
            await responses.read()


async def test_an_error_before_the_first_answer_is_raised_at_once() -> None:
    engine = Later()
    async with replica(engine, decoupled=True) as (made, _):
        with pytest.raises(EngineFailedError, match="broke"):
            await begun(asyncio.create_task(made.stream(job(1))), engine, Response(error=ExecutionError("broke")))


async def test_a_model_that_is_not_decoupled_gives_one() -> None:
    async with replica(Doubling()) as (made, _):
        assert await read_all(await made.stream(job(3))) == [(6, True)]


async def test_a_reader_who_leaves_cancels_the_call() -> None:
    engine = Later()
    async with replica(engine, decoupled=True) as (made, _):
        responses = await begun(asyncio.create_task(made.stream(job(1))), engine, answer(1, final=False))
        assert not engine.open[0].cancelled()
        responses.close()
        assert engine.open[0].cancelled()
        await asyncio.to_thread(engine.respond, 0, answer(2, final=False), Response())
        assert await responses.read() is None


async def test_a_caller_who_leaves_before_the_first_answer_cancels_the_call() -> None:
    engine = Later()
    async with replica(engine, decoupled=True) as (made, _):
        task = asyncio.create_task(made.stream(job(1)))
        await until(lambda: len(engine.open) == 1)
        task.cancel()
        await asyncio.wait([task])
        assert engine.open[0].cancelled()


async def test_what_a_slow_reader_leaves_is_bounded_and_harms_no_neighbour() -> None:
    engine = Later()
    async with replica(engine, decoupled=True, stream_buffer=8) as (made, _):
        slow = await begun(asyncio.create_task(made.stream(job(1))), engine, answer(0, final=False))
        task = asyncio.create_task(made.stream(job(2)))
        await until(lambda: len(engine.open) == 2)
        await asyncio.to_thread(engine.respond, 0, *[answer(number, final=False) for number in range(1, 20)])
        other = await begun(task, engine, answer(5))
        assert await read_all(other) == [(5, True)]
        assert engine.open[0].cancelled()
        for _ in range(9):
            assert await slow.read() is not None
        with pytest.raises(SlowReaderError, match="read faster"):
            await slow.read()


async def test_the_deadline_ends_it_in_the_middle() -> None:
    engine = Later()
    async with replica(engine, decoupled=True) as (made, _):
        task = asyncio.create_task(made.stream(job(1, deadline=time.monotonic() + 0.2)))
        responses = await begun(task, engine, answer(1, final=False))
        await responses.read()
        with pytest.raises(DeadlineExceededError, match="1 were"):
            await responses.read()
        assert engine.open[0].cancelled()


async def test_the_engine_s_loss_ends_what_has_an_answer_and_the_rest_is_asked_again() -> None:
    engines = [Later(), Later()]
    async with replica(*engines, decoupled=True) as (made, _):
        old, new = engines
        begun_already = await begun(asyncio.create_task(made.stream(job(1))), old, answer(1, final=False))
        task = asyncio.create_task(made.stream(job(2)))
        await until(lambda: len(old.open) == 2)
        await asyncio.to_thread(old.lose)
        await until(lambda: len(new.open) == 1)
        await asyncio.to_thread(old.respond, 1, Response(error=old.lost))  # late: this is another engine's now
        await asyncio.to_thread(new.respond, 0, answer(7))
        assert await read_all(await task) == [(7, True)]
        assert (await begun_already.read()) is not None
        with pytest.raises(EngineFailedError, match="lost before the last answer") as raised:
            await begun_already.read()
        assert not raised.value.retryable
        assert old.closed == 1


class Dies(Later):
    """Its process ends while `execute` runs, after one answer to the first call of it."""

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        super().execute(calls)
        self.respond(0, answer(1, final=False))
        self.lose()
        raise EngineLostError("the process ended")


async def test_an_engine_lost_in_its_run_ends_what_has_an_answer_and_nothing_is_run_twice() -> None:
    engines = [Dies(), Later()]
    async with replica(*engines, decoupled=True) as (made, _):
        responses = await made.stream(job(1))
        assert await responses.read() is not None
        with pytest.raises(EngineFailedError, match="lost before the last answer"):
            await responses.read()
        await until(lambda: made.fault == "")
        after = await begun(asyncio.create_task(made.stream(job(2))), engines[1], answer(5))
        assert await read_all(after) == [(5, True)]
        assert len(engines[1].open) == 1


async def test_several_texts_cannot_have_any_number_of_answers() -> None:
    async with replica(Later(), decoupled=True) as (made, _):
        one = job(1)
        with pytest.raises(UnsupportedError, match="send one text"):
            await made.stream(Job(one.request, (*one.parts, *one.parts), (1, 1)))


async def test_a_request_that_loses_every_engine_is_given_up() -> None:
    engines = [Later() for _ in range(LONE_LOSSES + 1)]
    async with replica(*engines, decoupled=True) as (made, _):
        task = asyncio.create_task(made.stream(job(1)))
        for engine in engines[:LONE_LOSSES]:
            await until(lambda engine=engine: len(engine.open) == 1)  # type: ignore[misc]
            await asyncio.to_thread(engine.lose)
        with pytest.raises(EngineFailedError, match="while it ran nothing but this request"):
            await task
        with pytest.raises(EngineFailedError, match="refused for another"):
            await made.stream(job(1))


async def test_the_drain_waits_for_the_last_answer() -> None:
    engine = Later()
    async with replica(engine, decoupled=True) as (made, _):
        responses = await begun(asyncio.create_task(made.stream(job(1))), engine, answer(1, final=False))
        closing = asyncio.create_task(made.close(5.0))
        await until(lambda: made.fault != "")
        await asyncio.to_thread(engine.respond, 0, answer(2))
        assert await read_all(responses) == [(1, False), (2, True)]
        await closing
        assert engine.closed == 1


async def test_the_end_of_the_grace_ends_it() -> None:
    engine = Later()
    async with replica(engine, decoupled=True, grace=0.05) as (made, _):
        responses = await begun(asyncio.create_task(made.stream(job(1))), engine, answer(1, final=False))
    assert await responses.read() is not None
    with pytest.raises(ModelUnavailableError):
        await responses.read()


async def test_a_drain_does_not_wait_for_what_nobody_reads() -> None:
    engine = Later()
    async with replica(engine, decoupled=True, grace=60.0) as (made, _):
        responses = await begun(asyncio.create_task(made.stream(job(1))), engine, answer(1, final=False))
        responses.close()
    assert engine.closed == 1
