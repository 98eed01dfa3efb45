"""Limits over several gateways and a real Redis, which goes away and comes back."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from service.access.shared_ledger import SharedLedger
from service.tenant_settings import WindowSettings
from tests.redis_server import RedisServer, redis_process
from tests.service.access.sharing import gateways
from tests.service.redis_link.linked import BACK

HOUR = 3600
"""Seconds of the windows: nothing is forgotten during a test."""


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_process() as server:
        yield server


def window(**limits: float) -> list[WindowSettings]:
    return [WindowSettings.model_validate({"seconds": HOUR, **limits})]


async def test_two_gateways_admit_the_limit_together(redis: RedisServer) -> None:
    async with gateways(redis, 2, window(requests=50)) as (one, two):
        assert sorted(await asyncio.gather(one.admitted(40), two.admitted(40)))[0] >= 10
        assert (await one.used())[0] == (await two.used())[0] == 50
        full = await one.ledger.admit()
        assert full is not None
        assert (full.measure, full.limit, full.seconds) == ("requests", 50, HOUR)
        assert 0 < full.wait <= 2 * HOUR


async def test_many_at_once_are_counted_one_by_one(redis: RedisServer) -> None:
    async with gateways(redis, 3, window(requests=100)) as all_three:
        found = await asyncio.gather(*(one.ledger.admit() for _ in range(80) for one in all_three))
        assert found.count(None) == 100
        assert [(await one.used())[0] for one in all_three] == [100] * 3


async def test_what_is_charged_at_one_counts_at_the_other(redis: RedisServer) -> None:
    chance = random.Random(7)
    costs = [(chance.randrange(100), chance.random()) for _ in range(200)]
    async with gateways(redis, 2, window(engine_seconds=1000.0, tokens=1_000_000)) as both:
        for cost in costs:
            chance.choice(both).ledger.charge(*cost)
            await asyncio.sleep(0)
        wanted = [0, sum(cost[0] for cost in costs), pytest.approx(sum(cost[1] for cost in costs), abs=1e-5)]
        for one in both:
            await one.used()
        assert [await one.used() for one in both] == [wanted, wanted]


async def test_an_outage_does_not_double_the_limit_and_what_was_used_in_it_is_told(redis: RedisServer) -> None:
    async with gateways(redis, 2, window(requests=100)) as (one, two):
        assert await one.admitted(20) + await two.admitted(20) + await one.admitted(0) == 40
        await one.used()
        redis.kill()
        await one.sees(up=False)
        await two.sees(up=False)
        assert (await one.admitted(200), await two.admitted(20)) == (30, 20)
        redis.start()  # empty
        await one.sees(up=True)
        await two.sees(up=True)
        await one.used()
        assert (await two.used())[0] == (await one.used())[0] == 90
        assert sorted(await asyncio.gather(one.admitted(50), two.admitted(50)))[1] <= 10
        assert (await one.used())[0] == 100


async def test_what_was_used_in_an_outage_is_told_without_another_request(redis: RedisServer) -> None:
    async with gateways(redis, 2, window(requests=100)) as (one, two):
        assert await one.admitted(20) + await two.admitted(20) == 40
        assert (await one.used())[0] == 40
        redis.kill()
        await one.sees(up=False)
        await two.sees(up=False)
        assert await two.admitted(20) == 20
        redis.start()
        await one.sees(up=True)
        async with asyncio.timeout(BACK):
            while (await one.used())[0] != 60:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_an_empty_redis_gets_what_the_one_that_knows_most_knew(redis: RedisServer) -> None:
    async with gateways(redis, 2, window(requests=100)) as (one, two):
        assert await one.admitted(10) + await two.admitted(80) == 90
        redis.kill()
        await one.sees(up=False)
        await two.sees(up=False)
        redis.start()
        await one.sees(up=True)
        await two.sees(up=True)
        assert (await one.used())[0] == 10
        assert (await two.used())[0] == (await one.used())[0] == 90
        assert await one.admitted(20) == 10


async def test_answers_that_come_too_late_count_once(redis: RedisServer) -> None:
    async with gateways(redis, 1, window(requests=1000, tokens=1000), timeout_ms=50) as (one,):
        assert await one.admitted(5) == 5
        for _ in range(3):
            redis.stop()
            assert await one.admitted(4) == 4
            one.ledger.charge(10, 0.0)
            redis.go_on()
            await one.sees(up=True)
            assert await one.admitted(1) == 1
        await one.used()
        assert (await one.used())[:2] == [5 + 3 * 5, 30]


async def test_a_caller_that_leaves_while_redis_is_asked_uses_nothing(redis: RedisServer) -> None:
    async with gateways(redis, 2, window(requests=10)) as (one, two):
        asking = asyncio.create_task(one.ledger.admit())
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        await one.used()
        assert (await two.used())[0] == 0
        assert await two.admitted(20) == 10


@pytest.mark.parametrize("reply", [[b"x"] * 10, [1] * 9 + [b"nan"], [1] * 9 + [b"inf"], [[]] * 10, [1] * 9, []])
async def test_an_answer_that_is_none_is_as_good_as_no_answer(reply: list[Any]) -> None:
    async def count(_keys: Sequence[bytes], _arguments: Sequence[bytes]) -> list[Any]:
        return reply

    ledger = SharedLedger("app", window(requests=3), lambda: 0.0, count, b"me")
    async with asyncio.timeout(5):
        assert [await ledger.admit() is None for _ in range(4)] == [True, True, True, False]
    assert ledger.rooms()[0].used == 3
