"""Several questions of one call, asked at once."""

import asyncio
import gc

import pytest

from service.errors import EngineFailedError
from service.together import together


async def answer(number: int) -> int:
    await asyncio.sleep(0)
    return number


async def fail() -> int:
    await asyncio.sleep(0)
    raise EngineFailedError("the second is poison")


async def test_answers_come_in_order() -> None:
    assert list(await together(answer(number) for number in range(9))) == list(range(9))


@pytest.mark.parametrize("leaves", [True, False])
async def test_all_end_with_the_first_that_fails_or_with_the_caller(leaves: bool) -> None:
    ended: list[int] = []
    begun = asyncio.Event()

    async def endless(number: int) -> int:
        begun.set()
        try:
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]
        finally:
            await asyncio.sleep(0)  # it takes its time
            ended.append(number)

    others = [] if leaves else [fail()]
    asking = asyncio.create_task(together([endless(0), *others, endless(1)]))
    if leaves:
        await begun.wait()
        asking.cancel()
    with pytest.raises(asyncio.CancelledError if leaves else EngineFailedError):
        await asking
    assert sorted(ended) == [0, 1]


async def test_failures_leave_no_cycles() -> None:
    async def once() -> None:
        with pytest.raises(EngineFailedError):
            await together([answer(1), fail(), answer(2)])

    await once()
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            await once()
        assert gc.collect() < 50
    finally:
        gc.enable()
