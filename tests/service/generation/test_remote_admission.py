"""Places and the queue before another server, without one."""

import asyncio

import pytest

from service.errors import EngineFailedError
from service.generation.remote_admission import RemoteAdmission


async def turn() -> None:
    await asyncio.sleep(0)


async def test_a_place_that_comes_as_its_taker_leaves_goes_to_the_next() -> None:
    admission = RemoteAdmission(1, 9)
    await admission.enter(1, 0.0)
    first, second = [asyncio.create_task(admission.enter(1, due)) for due in (1.0, 2.0)]
    await turn()
    admission.leave(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert admission.held == 1
    admission.leave(1)
    await admission.empty()


async def test_none_overtakes_a_larger_one_that_is_due_before_it() -> None:
    admission = RemoteAdmission(2, 9)
    await admission.enter(1, 0.0)
    large, small = [asyncio.create_task(admission.enter(answers, 1.0)) for answers in (2, 1)]
    await turn()
    assert not small.done()
    admission.leave(1)
    await large
    assert not small.done()
    admission.leave(2)
    await small


async def test_more_answers_than_places_run_alone() -> None:
    admission = RemoteAdmission(2, 9)
    await admission.enter(5, 0.0)
    assert not admission.is_free(1)
    waiting = asyncio.create_task(admission.enter(1, 0.0))
    await turn()
    assert not waiting.done()
    admission.leave(5)
    await waiting


async def test_a_larger_one_that_leaves_the_queue_lets_the_next_in() -> None:
    admission = RemoteAdmission(2, 9)
    await admission.enter(1, 0.0)
    large, small = [asyncio.create_task(admission.enter(answers, 1.0)) for answers in (2, 1)]
    await turn()
    large.cancel()
    await small
    assert admission.held == 2


async def test_failing_those_that_wait() -> None:
    admission = RemoteAdmission(1, 9)
    await admission.enter(1, 0.0)
    waiting = asyncio.create_task(admission.enter(1, 0.0))
    await turn()
    admission.fail(EngineFailedError("gone"))
    with pytest.raises(EngineFailedError, match="gone"):
        await waiting
    admission.leave(1)
    await admission.empty()
    assert admission.held == 0
