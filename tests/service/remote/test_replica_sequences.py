"""Requests of a sequence go to one server, one after the other, whatever happens to it."""

import asyncio
from pathlib import Path

import pytest

from engines.errors import EngineBusyError, InvalidInputError
from service.errors import EngineFailedError, InvalidRequestError, RetryLaterError
from service.remote.sequences import MOST_OF_ONE
from service.types import SequenceStep
from tests.service.remote.doubles import GONE, Clock, server_of, settle
from tests.service.remote.test_replica import counts, job, replica_of


async def test_a_step_of_a_sequence_is_never_asked_elsewhere(tmp_path: Path) -> None:
    replica, endpoints = replica_of(tmp_path, Clock(), "a", "b")
    await replica.infer(job(SequenceStep(5, start=True)))
    server_of(endpoints[0]).says = GONE
    with pytest.raises(EngineFailedError, match="sequence 5 of model 'm' is lost") as raised:
        await replica.infer(job(SequenceStep(5)))
    assert not raised.value.retryable
    assert counts(endpoints) == [2, 0]
    with pytest.raises(InvalidRequestError, match="sequence_start"):
        await replica.infer(job(SequenceStep(5)))
    await replica.infer(job(SequenceStep(5, start=True)))
    assert counts(endpoints) == [2, 1]


async def test_steps_of_a_sequence_wait_for_each_other(tmp_path: Path) -> None:
    replica, (a,) = replica_of(tmp_path, Clock(), "a")
    server_of(a).says = ""
    steps = [SequenceStep(5, number == 0, number == 2) for number in range(3)]
    tasks = [asyncio.create_task(replica.infer(job(step))) for step in steps]
    await settle()
    assert [(one.start, one.end) for one in server_of(a).asked] == [(True, False)]
    server_of(a).told.set()
    await asyncio.gather(*tasks)
    assert [(one.start, one.end) for one in server_of(a).asked] == [(True, False), (False, False), (False, True)]


async def test_a_sequence_may_begin_anew_before_its_last_request_was_answered(tmp_path: Path) -> None:
    replica, (a,) = replica_of(tmp_path, Clock(), "a")
    await replica.infer(job(SequenceStep(5, start=True)))
    server_of(a).says = ""
    ending = asyncio.create_task(replica.infer(job(SequenceStep(5, end=True))))
    await settle()
    beginning = asyncio.create_task(replica.infer(job(SequenceStep(5, start=True))))
    await settle()
    server_of(a).told.set()
    await asyncio.gather(ending, beginning)
    await replica.infer(job(SequenceStep(5)))
    await replica.infer(job(SequenceStep(5, end=True)))
    with pytest.raises(InvalidRequestError, match="sequence_start"):
        await replica.infer(job(SequenceStep(5)))


async def test_a_late_loss_does_not_take_the_sequence_that_began_since(tmp_path: Path) -> None:
    replica, (a, b) = replica_of(tmp_path, Clock(), "a", "b")
    await replica.infer(job(SequenceStep(5, start=True)))
    server_of(a).says = ""
    lost = [asyncio.create_task(replica.infer(job(SequenceStep(5)))) for _ in range(2)]
    await settle()
    replica._pool.eject(a, "it hangs")
    await replica.infer(job(SequenceStep(5, start=True)))
    replica._pool.cut(a)
    for task in lost:
        with pytest.raises(EngineFailedError, match="sequence 5 of model 'm' is lost"):
            await task
    await replica.infer(job(SequenceStep(5)))
    assert counts([a, b]) == [2, 2]


async def test_all_that_wait_for_a_lost_sequence_are_told_and_its_server_is_not_asked(tmp_path: Path) -> None:
    replica, (a, _) = replica_of(tmp_path, Clock(), "a", "b")
    await replica.infer(job(SequenceStep(5, start=True)))
    server_of(a).says = ""
    steps = [asyncio.create_task(replica.infer(job(SequenceStep(5)))) for _ in range(3)]
    await settle()
    server_of(a).says = GONE
    server_of(a).told.set()
    await asyncio.wait(steps[:1])
    replica._pool.readmit(a)
    for task in steps:
        with pytest.raises(EngineFailedError, match="sequence 5 of model 'm' is lost"):
            await task
    assert server_of(a).asked[2:] == []
    with pytest.raises(InvalidRequestError, match="sequence_start"):
        await replica.infer(job(SequenceStep(5)))


async def test_a_first_request_that_was_refused_holds_no_place(tmp_path: Path) -> None:
    replica, (a,) = replica_of(tmp_path, Clock(), "a")
    for said in (EngineBusyError("full", 1.0), InvalidInputError("no")):
        server_of(a).says = said
        with pytest.raises((RetryLaterError, InvalidRequestError)):
            await replica.infer(job(SequenceStep(5, start=True)))
        assert replica._sequences is not None
        assert len(replica._sequences) == 0


async def test_no_more_wait_for_a_sequence_than_may(tmp_path: Path) -> None:
    replica, (a,) = replica_of(tmp_path, Clock(), "a")
    server_of(a).says = ""
    steps = [SequenceStep(5, start=number == 0) for number in range(MOST_OF_ONE)]
    tasks = [asyncio.create_task(replica.infer(job(step))) for step in steps]
    await settle()
    with pytest.raises(RetryLaterError, match="512 requests already"):
        await replica.infer(job(SequenceStep(5)))
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True))
    assert a.in_flight == 0
