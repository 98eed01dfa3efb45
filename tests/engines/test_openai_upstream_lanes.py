"""Who gets a connection, and which; none is opened here."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest

from engines.openai_upstream_lanes import Lanes


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    made = Lanes(partial(httpx.AsyncHTTPTransport, verify=False), 1)
    yield made
    await made.close()


async def test_what_was_given_back_is_used_again(lanes: Lanes) -> None:
    first = await lanes.take()
    assert not first.used
    await lanes.give(first)
    again = await lanes.take()
    assert again is first
    assert again.used


async def test_what_was_dropped_is_not(lanes: Lanes) -> None:
    first = await lanes.take()
    await lanes.drop(first)
    assert await lanes.take() is not first


async def test_a_place_that_comes_as_its_taker_leaves_goes_to_the_next(lanes: Lanes) -> None:
    held = await lanes.take()
    leaves, stays = [asyncio.create_task(lanes.take()) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.gather(lanes.give(held), cancel(leaves))
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert await stays is held


async def cancel(task: "asyncio.Task[object]") -> None:
    task.cancel()


async def test_those_that_leave_the_queue_are_passed_over(lanes: Lanes) -> None:
    held = await lanes.take()
    leaves, stays = [asyncio.create_task(lanes.take()) for _ in range(2)]
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    await lanes.drop(held)
    assert not (await stays).used


async def test_what_is_given_back_after_the_end_is_not_kept(lanes: Lanes) -> None:
    held = await lanes.take()
    await lanes.close()
    await lanes.give(held)
    assert await lanes.take() is not held
