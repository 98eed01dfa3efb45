"""Single flight: once for all, and nobody is harmed by another."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from service.cache.flights import Flights
from service.errors import (
    BatchyardError,
    DeadlineExceededError,
    DeadlineHopelessError,
    EngineFailedError,
    QuotaExceededError,
)
from tests.service.garbage import frames_left_by

FAR = float("inf")


class Work:
    """Waits to be let go, then answers or raises the next of `ends`."""

    def __init__(self, *ends: str | BaseException) -> None:
        self.ends = list(ends)
        self.began = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.begun = asyncio.Event()

    async def __call__(self) -> str:
        self.began += 1
        self.begun.set()
        end = self.ends.pop(0)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(end, BaseException):
            raise end
        return end


def flights() -> Flights[str]:
    return Flights(asyncio.get_running_loop().time)


async def turns(until: Callable[[], bool]) -> None:
    """Lets the others run until something is so."""
    async with asyncio.timeout(10):
        while not until():  # noqa: ASYNC110 - it comes about within turns of the loop
            await asyncio.sleep(0)


def ask(
    flying: Flights[str], work: Callable[[], Awaitable[str]], deadline: float = FAR
) -> asyncio.Task[tuple[str, bool]]:
    return asyncio.create_task(flying.answer("key", work, deadline))  # type: ignore[arg-type]


async def test_a_thousand_at_once_are_one() -> None:
    flying, work = flights(), Work("answer")
    asked = [ask(flying, work) for _ in range(1000)]
    await work.begun.wait()
    work.go.set()
    told = await asyncio.gather(*asked)
    assert work.began == 1
    assert [answer for answer, _ in told] == ["answer"] * 1000
    assert sum(led for _, led in told) == 1
    assert len(flying) == 0


async def test_other_keys_fly_apart_and_later_ones_anew() -> None:
    flying, work = flights(), Work("one", "two", "three")
    work.go.set()
    assert await flying.answer("a", work, FAR) == ("one", True)
    assert sorted(await asyncio.gather(flying.answer("a", work, FAR), flying.answer("b", work, FAR))) == [
        ("three", True),
        ("two", True),
    ]


async def test_a_leader_that_leaves_takes_nobody_with_it_and_the_next_has_its_place() -> None:
    flying, work = flights(), Work("answer")
    leader = ask(flying, work)
    await work.begun.wait()
    others = [ask(flying, work) for _ in range(3)]
    await asyncio.sleep(0)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    work.go.set()
    assert await asyncio.gather(*others) == [("answer", True), ("answer", False), ("answer", False)]
    assert (work.began, work.cancelled) == (1, 0)


async def test_with_the_last_one_the_work_ends() -> None:
    flying, work = flights(), Work("never", "answer")
    asked = [ask(flying, work) for _ in range(3)]
    await work.begun.wait()
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert len(flying) == 0
    await turns(lambda: work.cancelled == 1)
    work.go.set()
    assert await flying.answer("key", work, FAR) == ("answer", True)


async def test_a_deadline_is_its_own() -> None:
    now = asyncio.get_running_loop().time()
    flying, work = flights(), Work("answer")
    patient = ask(flying, work)
    await work.begun.wait()
    with pytest.raises(DeadlineExceededError, match="while an equal request was on its way"):
        await flying.answer("key", work, now - 1)
    work.go.set()
    assert await patient == ("answer", True)


@pytest.mark.parametrize(
    "error",
    [DeadlineExceededError("late"), DeadlineHopelessError("late", 1.0), QuotaExceededError("used up", 1.0)],
)
async def test_where_the_leaders_own_reason_ends_it_the_one_with_most_time_leads(error: BatchyardError) -> None:
    now = asyncio.get_running_loop().time()
    flying = flights()
    hasty, calm, calmest = Work(error), Work("calm"), Work("calmest")
    asked = [ask(flying, hasty, now + 100), ask(flying, calm, now + 200), ask(flying, calmest, now + 300)]
    await hasty.begun.wait()
    hasty.go.set()
    await calmest.begun.wait()
    with pytest.raises(type(error)):
        await asked[0]
    calmest.go.set()
    assert await asked[1] == ("calmest", False)
    assert await asked[2] == ("calmest", True)
    assert calm.began == 0


async def test_who_had_no_more_time_than_the_leader_is_late_with_it() -> None:
    now = asyncio.get_running_loop().time()
    flying, work = flights(), Work(DeadlineHopelessError("late", 1.0))
    asked = [ask(flying, work, now + seconds) for seconds in (100, 50, 100)]
    await work.begun.wait()
    work.go.set()
    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(end) for end in ends] == [DeadlineHopelessError] * 3
    assert work.began == 1


async def test_work_that_is_cancelled_from_below_is_handed_over() -> None:
    flying, work = flights(), Work(asyncio.CancelledError(), "answer")
    asked = [ask(flying, work) for _ in range(2)]
    await work.begun.wait()
    work.go.set()
    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert ends[1] == ("answer", True)


async def test_an_error_is_told_to_all_each_its_own() -> None:
    flying, work = flights(), Work(EngineFailedError("broken"), "answer")
    asked = [ask(flying, work) for _ in range(3)]
    await work.begun.wait()
    work.go.set()
    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(end) for end in ends] == ["broken"] * 3
    assert len(set(map(id, ends))) == 3
    assert await flying.answer("key", work, FAR) == ("answer", True)


async def test_errors_leave_no_cycles() -> None:
    flying, work = flights(), Work(*[EngineFailedError("broken")] * 3)
    work.go.set()

    async def refused() -> None:
        with suppress(EngineFailedError):
            await flying.answer("key", work, FAR)

    assert await frames_left_by(lambda: asyncio.gather(refused(), refused()), "/service/cache") == []
