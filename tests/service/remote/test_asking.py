"""A request is answered once, by the first server or by one other."""

import asyncio
import contextlib
import gc
from collections.abc import Callable

import pytest

from engines.calls import Question, Response
from engines.errors import (
    EngineBusyError,
    EngineError,
    EngineTimeoutError,
    EngineUnreachableError,
    ExecutionError,
    InvalidInputError,
)
from service.remote.asking import Asking
from service.remote.endpoint import Endpoint
from tests.service.remote.doubles import GONE, Clock, asking, pool_of, server_of, settle

QUESTION = Question("m", {})
FAR = 2000.0


async def ask(endpoint: Endpoint, left: float) -> Response:
    return await endpoint.remote.infer(QUESTION, left)


def counts(endpoints: list[Endpoint]) -> list[int]:
    return [len(server_of(endpoint).asked) for endpoint in endpoints]


async def test_one_is_asked_and_its_time_learned() -> None:
    clock = Clock()
    asked, endpoints = asking(clock, "a", "b")
    server_of(endpoints[0]).says = ""
    task = asyncio.create_task(asked.anywhere(ask, FAR))
    await settle()
    assert endpoints[0].in_flight == 1
    clock.now += 0.5
    server_of(endpoints[0]).told.set()
    await task
    assert endpoints[0].in_flight == 0
    assert endpoints[0].latency.predict(1) == pytest.approx(0.5)
    assert counts(endpoints) == [1, 0]


async def test_a_server_that_is_gone_is_out_at_once_and_another_asked() -> None:
    asked, endpoints = asking(Clock(), "a", "b")
    server_of(endpoints[0]).says = GONE
    await asked.anywhere(ask, FAR)
    assert endpoints[0].fault == "connection refused"
    assert counts(endpoints) == [1, 1]
    assert (endpoints[0].retries, endpoints[0].ejections) == (1, 1)


async def test_only_one_other_is_asked() -> None:
    asked, endpoints = asking(Clock(), "a", "b", "c")
    for endpoint in endpoints[:2]:
        server_of(endpoint).says = GONE
    with pytest.raises(EngineUnreachableError):
        await asked.anywhere(ask, FAR)
    assert counts(endpoints) == [1, 1, 0]


async def test_alone_what_it_said_is_the_error() -> None:
    asked, endpoints = asking(Clock(), "a")
    server_of(endpoints[0]).says = GONE
    with pytest.raises(EngineUnreachableError, match="connection refused"):
        await asked.anywhere(ask, FAR)
    with pytest.raises(EngineUnreachableError, match="none of its servers can be asked: a: connection refused"):
        await asked.anywhere(ask, FAR)


@pytest.mark.parametrize("error", [InvalidInputError("bad"), ExecutionError("boom"), EngineTimeoutError("late")])
async def test_what_another_server_would_say_too_is_not_asked_again(error: EngineError) -> None:
    asked, endpoints = asking(Clock(), "a", "b")
    server_of(endpoints[0]).says = error
    with pytest.raises(type(error)):
        await asked.anywhere(ask, FAR)
    assert counts(endpoints) == [1, 0]
    assert endpoints[0].up


async def test_who_refuses_is_passed_over_as_often_as_it_takes() -> None:
    asked, endpoints = asking(Clock(), "a", "b", "c")
    for endpoint in endpoints[:2]:
        server_of(endpoint).says = EngineBusyError("full", 3.0)
    await asked.anywhere(ask, FAR)
    assert counts(endpoints) == [1, 1, 1]
    server_of(endpoints[2]).says = EngineBusyError("full", 0.5)
    with pytest.raises(EngineBusyError) as raised:
        await asked.anywhere(ask, FAR)
    assert raised.value.retry_after == 0.5
    assert all(endpoint.up for endpoint in endpoints)


async def test_what_hangs_is_asked_elsewhere_and_its_late_answer_dropped() -> None:
    clock = Clock()
    pool, endpoints = pool_of(clock, "a", "b")
    asked = Asking(pool, clock)
    server_of(endpoints[0]).says = ""
    tasks = [asyncio.create_task(asked.at(endpoints[0], ask, FAR)), asyncio.create_task(asked.anywhere(ask, FAR))]
    await settle()
    again = asyncio.create_task(asked.anywhere(ask, FAR))
    await settle()
    pool.eject(endpoints[0], "it hangs")
    pool.cut(endpoints[0])
    server_of(endpoints[0]).told.set()
    with pytest.raises(EngineUnreachableError, match="it hangs"):
        await tasks[0]
    await asyncio.gather(tasks[1], again)
    assert not endpoints[0].running
    assert endpoints[0].in_flight == 0


async def test_where_nobody_else_is_up_what_hangs_may_yet_answer() -> None:
    clock = Clock()
    pool, endpoints = pool_of(clock, "a")
    server_of(endpoints[0]).says = ""
    task = asyncio.create_task(Asking(pool, clock).anywhere(ask, FAR))
    await settle()
    pool.eject(endpoints[0], "it hangs")
    pool.cut(endpoints[0])
    server_of(endpoints[0]).told.set()
    assert (await task).outputs


async def test_a_caller_that_leaves_ends_what_it_asked() -> None:
    asked, endpoints = asking(Clock(), "a", "b")
    server_of(endpoints[0]).says = ""
    task = asyncio.create_task(asked.anywhere(ask, FAR))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (endpoints[0].in_flight, len(endpoints[0].running)) == (0, 0)
    assert counts(endpoints) == [1, 0]
    assert endpoints[0].up


@pytest.mark.parametrize(
    "make",
    [
        lambda: EngineBusyError("full", 1.0),
        lambda: EngineUnreachableError("gone"),
        lambda: EngineTimeoutError("late"),
        lambda: InvalidInputError("bad"),
    ],
    ids=["busy", "gone", "late", "bad"],
)
async def test_a_failed_request_leaves_nothing_to_the_garbage_collector(make: Callable[[], EngineError]) -> None:
    asked, endpoints = asking(Clock(), "a", "b")

    async def fail(endpoint: Endpoint, left: float) -> Response:
        raise make()

    async def ask_all() -> None:
        for _ in range(50):
            for endpoint in endpoints:
                endpoint.fault = ""
            with contextlib.suppress(EngineError):
                await asked.anywhere(fail, FAR)

    await ask_all()
    gc.collect()
    gc.disable()
    try:
        await ask_all()
        assert gc.collect() < 50
    finally:
        gc.enable()


async def test_what_is_cut_twice_is_told_once_and_its_caller_goes_on() -> None:
    clock = Clock()
    _, (a,) = pool = pool_of(clock, "a")
    server_of(a).says = ""
    task = asyncio.create_task(Asking(pool[0], clock).anywhere(ask, FAR))
    await settle()
    a.cut()
    a.cut()
    with pytest.raises(EngineUnreachableError, match="the connection was closed"):
        await task
    assert not task.cancelling()


async def test_after_its_deadline_nobody_is_asked() -> None:
    clock = Clock()
    asked, endpoints = asking(clock, "a")
    with pytest.raises(EngineTimeoutError):
        await asked.anywhere(ask, clock.now)
    assert counts(endpoints) == [0]
