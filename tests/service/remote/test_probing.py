"""When a server is out, and when it is back."""

import asyncio

import pytest

from engines.errors import EngineTimeoutError, EngineUnreachableError, ModelLoadError
from service.remote.endpoint import Endpoint
from service.remote.probing import LOST, Prober
from tests.service.remote.doubles import GONE, Clock, pool_of, server_of, settle

SILENT = EngineTimeoutError("late")


async def agree(endpoint: Endpoint) -> None:
    await endpoint.remote.config(1.0)


async def test_a_server_that_says_no_is_out_at_once_and_back_with_a_yes() -> None:
    pool, (a,) = pool_of(clock := Clock(), "a")
    prober = Prober(pool, agree, clock)
    server_of(a).probe = EngineUnreachableError("model 'm' is not ready there")
    await prober.probe(a)
    assert "not ready" in a.fault
    server_of(a).probe = None
    await prober.probe(a)
    assert a.up


async def test_a_probe_that_breaks_does_not_end_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, (a,) = pool_of(clock := Clock(), "a")
    answers = [None, ZeroDivisionError("by chance")]

    async def ready(seconds: float) -> None:
        if error := answers.pop():
            raise error

    monkeypatch.setattr(a.remote, "ready", ready)
    watching = asyncio.create_task(Prober(pool, agree, clock).watch(a))
    await settle()
    assert (a.up, a.ejections, answers) == (True, 1, [])
    watching.cancel()


async def test_a_silent_server_is_out_after_two_probes() -> None:
    pool, (a, _) = pool_of(clock := Clock(), "a", "b")
    prober = Prober(pool, agree, clock)
    server_of(a).probe = SILENT
    for number in range(LOST):
        assert a.up, number
        clock.now += 1
        await prober.probe(a)
    assert "it hangs" in a.fault


async def test_whoever_answers_others_does_not_hang() -> None:
    pool, (a,) = pool_of(clock := Clock(), "a")
    prober = Prober(pool, agree, clock)
    server_of(a).probe = SILENT
    for _ in range(10):
        clock.now += 1
        pool.answered(a, 1, 0.1)
        await prober.probe(a)
    assert a.up


async def test_a_server_that_has_another_model_now_is_not_asked() -> None:
    pool, (a,) = pool_of(clock := Clock(), "a")
    prober = Prober(pool, agree, clock)
    pool.eject(a, "connection refused")
    server_of(a).described = ModelLoadError("its server has no output 'y'")
    await prober.probe(a)
    assert "no output" in a.fault
    server_of(a).described = None
    await prober.probe(a)
    assert a.up


async def test_a_server_left_alone_is_not_back_before_its_time() -> None:
    pool, (a,) = pool_of(clock := Clock(), "a")
    prober = Prober(pool, agree, clock)
    pool.eject(a, "five requests failed")
    a.until = clock.now + 4
    await prober.probe(a)
    assert not a.up
    clock.now += 4
    await prober.probe(a)
    assert a.up


async def test_an_ejection_is_looked_into_at_once() -> None:
    """By a probe of its own, not by the next of the round: a server that is well loses no second."""
    pool, (a,) = pool_of(clock := Clock(), "a")
    task = asyncio.create_task(Prober(pool, agree, clock).watch(a))
    await settle()
    pool.eject(a, "one broken connection")
    assert not a.up
    await settle()
    assert a.up
    server_of(a).probe = GONE
    pool.eject(a, "one broken connection")
    await settle()
    assert a.fault == "connection refused"
    task.cancel()


@pytest.mark.parametrize(("in_flight", "silent_for", "overdue"), [(0, 99, False), (1, 0.1, False), (1, 2, True)])
def test_an_overdue_answer_is_a_reason_to_probe(in_flight: int, silent_for: float, overdue: bool) -> None:
    pool, (a,) = pool_of(clock := Clock(), "a")
    pool.answered(a, 1, 0.1)
    for _ in range(in_flight):
        a.enter()
    clock.now += silent_for
    assert Prober(pool, agree, clock).overdue(a) == overdue
