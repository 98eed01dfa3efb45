"""Which server is chosen, and which are left alone: numbers and a clock that stands still."""

import random
from collections import Counter

import pytest

from engines.errors import EngineBusyError, EngineUnreachableError
from service.remote.pool import FAILING_FOR, FAILURES, FIRST_PAUSE
from tests.service.remote.doubles import Clock, pool_of


def test_equal_servers_are_asked_in_turn() -> None:
    pool, endpoints = pool_of(Clock(), "a", "b", "c")
    for _ in range(9):
        endpoint = pool.choose()
        endpoint.enter()
        endpoint.asked += 1
    assert [endpoint.in_flight for endpoint in endpoints] == [3, 3, 3]


def test_the_one_that_would_finish_first_is_chosen() -> None:
    pool, (slow, fast) = pool_of(Clock(), "slow", "fast")
    for _ in range(50):
        slow.latency.learn(1, 0.03)
        fast.latency.learn(1, 0.01)
    chosen = []
    for _ in range(8):
        endpoint = pool.choose()
        endpoint.enter()
        chosen.append(endpoint)
    assert Counter(chosen) == {fast: 6, slow: 2}
    assert pool.predict().seconds == pytest.approx(0.07, rel=0.01)


def test_a_virtual_hour_of_load_finds_the_best_shares() -> None:
    """Servers of 10 and 40 ms a request, one at a time, at 60 % of what they can do: no queue grows."""
    chance, clock = random.Random(4), Clock()
    pool, endpoints = pool_of(clock, "fast", "slow")
    each = {"fast": 0.01, "slow": 0.04}
    free = dict.fromkeys(each, clock.now)
    running: list[tuple[float, float, int, str]] = []
    waits = []
    for _ in range(20_000):
        clock.now += chance.expovariate(75)
        for end, start, load, url in sorted(one for one in running if one[0] <= clock.now):
            pool.endpoints[url].leave()
            pool.answered(pool.endpoints[url], load, end - start)
        running = [one for one in running if one[0] > clock.now]
        endpoint = pool.choose()
        load = endpoint.enter()
        free[endpoint.url] = max(free[endpoint.url], clock.now) + each[endpoint.url]
        running.append((free[endpoint.url], clock.now, load, endpoint.url))
        waits.append(free[endpoint.url] - clock.now)
    assert sum(waits) / len(waits) < 0.03
    assert max(endpoint.in_flight for endpoint in endpoints) < 20


@pytest.mark.parametrize(("later", "least", "most"), [(0.01, 0.4, 0.6), (4.0, 0.0, 0.005)])
def test_a_slow_first_answer_is_not_held_against_a_server_for_good(later: float, least: float, most: float) -> None:
    """Twenty requests a second, one after the other: the first answer of `a` takes 4 s, the next ones `later`."""
    clock = Clock()
    pool, (a, b) = pool_of(clock, "a", "b")
    shares = []
    for _ in range(6):
        before = a.asked
        for _ in range(1200):
            endpoint = pool.choose()
            endpoint.asked += 1
            seconds = 0.01 if endpoint is b else later if a.asked > 1 else 4.0
            pool.answered(endpoint, 1, seconds)
            clock.now += 0.05
        shares.append((a.asked - before) / 1200)
    assert least <= shares[-1] <= most


def test_no_server_is_given_more_than_it_may_have() -> None:
    pool, endpoints = pool_of(Clock(), "a", "b", most=2)
    for _ in range(4):
        pool.choose().enter()
    with pytest.raises(EngineBusyError, match="each of its 2 servers has 2 requests") as raised:
        pool.choose()
    assert raised.value.retry_after > 0
    endpoints[1].leave()
    assert pool.choose() is endpoints[1]


def test_one_that_is_out_is_not_asked_until_it_is_back() -> None:
    pool, (a, b) = pool_of(Clock(), "a", "b")
    pool.eject(a, "connection refused")
    assert {pool.choose().url for _ in range(5)} == {"b"}
    assert a.wake.is_set()
    pool.readmit(a)
    b.enter()
    assert pool.choose() is a
    assert (a.ejections, b.ejections) == (1, 0)


def test_without_any_the_reasons_are_told() -> None:
    pool, (a, b) = pool_of(Clock(), "a", "b")
    assert pool.fault == ""
    pool.eject(a, "connection refused")
    pool.eject(b, "it hangs")
    assert pool.fault == "none of its servers can be asked: a: connection refused; b: it hangs"
    with pytest.raises(EngineUnreachableError, match="a: connection refused; b: it hangs"):
        pool.choose()


def test_a_row_of_failures_leaves_a_server_alone_for_ever_longer() -> None:
    clock = Clock()
    pool, (a, _) = pool_of(clock, "a", "b")
    pauses = []
    for _ in range(8):
        for _ in range(FAILURES):
            pool.failed(a, "boom")
            clock.now += FAILING_FOR / 2
        assert "boom" in a.fault
        start = clock.now
        while a.fault:
            clock.now += 0.25
            pool.readmit(a)
        pauses.append(clock.now - start)
    assert pauses[:3] == pytest.approx([FIRST_PAUSE / 2, 1.5, 3.5], abs=0.3)
    assert pauses[-1] == pytest.approx(29.5, abs=0.6)
    pool.answered(a, 1, 0.01)
    assert a.pause == FIRST_PAUSE


def test_a_burst_of_failures_says_nothing() -> None:
    pool, (a, _) = pool_of(Clock(), "a", "b")
    for _ in range(100):
        pool.failed(a, "boom")
    assert a.up


def test_the_last_server_is_kept_whatever_it_fails_on() -> None:
    clock = Clock()
    pool, (a,) = pool_of(clock, "a")
    for _ in range(100):
        pool.failed(a, "boom")
        clock.now += 1
    assert a.up
