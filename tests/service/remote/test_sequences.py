"""Sequences keep their server."""

import pytest

from service.errors import EngineFailedError, InvalidRequestError, RetryLaterError
from service.remote.sequences import LEAST_IDLE, Sequences
from service.types import SequenceStep
from tests.service.remote.doubles import Clock, pool_of


def test_all_requests_of_a_sequence_go_to_its_server() -> None:
    pool, endpoints = pool_of(clock := Clock(), "a", "b")
    sequences = Sequences("m", 0.0, clock)
    first = sequences.find(SequenceStep(7, start=True), pool.choose)
    first.endpoint.enter()
    other = sequences.find(SequenceStep("text", start=True), pool.choose)
    assert {first.endpoint, other.endpoint} == set(endpoints)
    for _ in range(5):
        assert sequences.find(SequenceStep(7), pool.choose) is first
        assert sequences.find(SequenceStep("text"), pool.choose) is other
    sequences.forget(7, first)
    with pytest.raises(InvalidRequestError, match=r"sequence 7 .* must have sequence_start") as raised:
        sequences.find(SequenceStep(7), pool.choose)
    assert "must specify the START flag" in raised.value.triton


def test_a_sequence_whose_server_is_gone_is_lost_until_it_begins_anew() -> None:
    pool, (a, b) = pool_of(clock := Clock(), "a", "b")
    sequences = Sequences("m", 0.0, clock)
    assert sequences.find(SequenceStep(7, start=True), pool.choose).endpoint is a
    pool.eject(a, "connection refused")
    with pytest.raises(EngineFailedError, match=r"sequence 7 .* is lost: a had.*connection refused") as raised:
        sequences.find(SequenceStep(7), pool.choose)
    assert not raised.value.retryable
    assert sequences.find(SequenceStep(7, start=True), pool.choose).endpoint is b


def test_idle_sequences_are_forgotten() -> None:
    pool, _ = pool_of(clock := Clock(), "a")
    sequences = Sequences("m", 0.0, clock)
    for number in range(1, 11):
        sequences.find(SequenceStep(number, start=True), pool.choose)
        clock.now += LEAST_IDLE / 10
    sequences.find(SequenceStep(5), pool.choose)
    clock.now += LEAST_IDLE / 2
    sequences.find(SequenceStep(99, start=True), pool.choose)
    assert len(sequences) == 6
    with pytest.raises(InvalidRequestError):
        sequences.find(SequenceStep(4), pool.choose)
    sequences.find(SequenceStep(5), pool.choose)


def test_there_are_never_more_than_may_be() -> None:
    pool, _ = pool_of(clock := Clock(), "a")
    sequences = Sequences("m", 0.0, clock, most=2)
    for number in (1, 2):
        sequences.find(SequenceStep(number, start=True), pool.choose)
    with pytest.raises(RetryLaterError, match="2 sequences run already"):
        sequences.find(SequenceStep(3, start=True), pool.choose)
    clock.now += LEAST_IDLE
    sequences.find(SequenceStep(3, start=True), pool.choose)
