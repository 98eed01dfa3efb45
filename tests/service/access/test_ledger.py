"""Windows of use, on a clock that is a number."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.ledger import Ledger
from service.access.window import Window
from service.tenant_settings import WindowSettings


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def window(seconds: int = 10, requests: int = 0, tokens: int = 0, engine_seconds: float = 0.0) -> WindowSettings:
    return WindowSettings(seconds=seconds, requests=requests, tokens=tokens, engine_seconds=engine_seconds)


def ledger(*limits: WindowSettings) -> tuple[Ledger, Clock]:
    clock = Clock()
    return Ledger(limits, clock), clock


async def test_requests_up_to_the_limit_and_again_as_the_window_slides() -> None:
    found, clock = ledger(window(10, requests=4))
    assert [await found.admit() for _ in range(4)] == [None] * 4
    full = await found.admit()
    assert full is not None
    assert (full.measure, full.seconds, full.limit, full.wait) == ("requests", 10, 4.0, pytest.approx(12.5))
    clock.now += 12.4
    assert await found.admit() is not None
    clock.now += 0.2
    assert await found.admit() is None
    assert await found.admit() is not None


async def test_what_is_only_known_afterwards_may_begin_below_the_limit_and_is_paid_for() -> None:
    found, clock = ledger(window(10, tokens=100, engine_seconds=5.0))
    assert await found.admit() is None
    found.charge(99, 1.0)
    assert await found.admit() is None
    found.charge(301, 1.0)
    full = await found.admit()
    assert full is not None
    assert (full.measure, full.wait) == ("tokens", pytest.approx(10 + 7.5))
    clock.now += 17.6
    assert await found.admit() is None


async def test_the_longest_wait_of_all_windows_counts() -> None:
    found, clock = ledger(window(1, requests=2), window(100, engine_seconds=1.0))
    found.charge(0, 2.0)
    assert await found.admit() is not None
    full = await found.admit()
    assert full is not None
    assert (full.measure, full.wait) == ("engine_seconds", pytest.approx(150))
    clock.now += 1000
    assert await found.admit() is None


async def test_without_limits_nothing_is_full() -> None:
    found, _ = ledger()
    assert [await found.admit() for _ in range(100)] == [None] * 100
    assert found.rooms() == []


async def test_rooms_tell_what_is_left_and_when_it_is_forgotten() -> None:
    found, clock = ledger(window(10, requests=4, engine_seconds=2.0))
    await found.admit()
    found.charge(30, 0.5)
    clock.now += 5
    requests, tokens, engine = found.rooms()
    assert (requests.limit, requests.used, requests.remaining, requests.reset) == (4, 1, 3, 15)
    assert (tokens.limit, tokens.used) == (0, 30)
    assert (engine.remaining, engine.reset) == (1.5, 15)
    clock.now += 10
    assert found.rooms()[0].used == pytest.approx(0.5)
    clock.now += 5
    assert found.rooms()[0].used == 0
    assert found.rooms()[0].reset == 0


STEPS = st.lists(st.floats(0, 25), min_size=1, max_size=200)


@given(STEPS, st.integers(1, 12))
def test_no_window_holds_twice_the_limit_and_no_bucket_more_than_it(steps: list[float], limit: int) -> None:
    """The known error of two buckets: (1 + f) times the limit, f < 1 the share of the window in the newer bucket."""
    taken = _taken(steps, limit)
    for at in taken:
        assert sum(at - 10 < other <= at for other in taken) < 2 * limit
        assert sum(at - 10 < other <= at for other in taken) <= math.ceil(limit * (1 + (at - 1000) % 10 / 10))
    buckets = [int((at - 1000) // 10) for at in taken]
    assert all(buckets.count(bucket) <= limit for bucket in buckets)


@given(STEPS, st.integers(1, 12))
def test_who_waits_as_long_as_told_is_let_in_and_not_before(steps: list[float], limit: int) -> None:
    clock = Clock()
    one = Window(window(10, requests=limit), clock.now)
    for step in steps:
        clock.now += step / 10
        wait, _ = one.wait((1.0, 0.0, 0.0), clock.now)
        if not wait:
            one.own.add((1.0, 0.0, 0.0))
            continue
        assert wait <= 20
        before, clock.now = clock.now + 0.999 * wait - 1e-6, clock.now + wait + 1e-6
        assert one.wait((1.0, 0.0, 0.0), before)[0] > 0
        assert one.wait((1.0, 0.0, 0.0), clock.now)[0] == 0


def _taken(steps: list[float], limit: int) -> list[float]:
    clock = Clock()
    one = Window(window(10, requests=limit), clock.now)
    taken = []
    for step in steps:
        clock.now += step
        if not one.wait((1.0, 0.0, 0.0), clock.now)[0]:
            one.own.add((1.0, 0.0, 0.0))
            taken.append(clock.now)
    return taken
