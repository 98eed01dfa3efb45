"""What is learned of a server's answers."""

import random

import pytest

from service.remote.latency import FIRST_GUESS, Latency
from tests.service.remote.doubles import is_rising


def test_a_server_nobody_knows_is_guessed() -> None:
    assert [Latency().predict(load) for load in (1, 2, 5)] == pytest.approx([FIRST_GUESS * n for n in (1, 2, 5)])


def test_twice_the_requests_take_twice_the_time_where_nothing_else_was_seen() -> None:
    latency = Latency()
    for _ in range(100):
        latency.learn(2, 0.02)
    assert [latency.predict(load) for load in (1, 2, 4)] == pytest.approx([0.01, 0.02, 0.04])


@pytest.mark.parametrize(("fixed", "per_request"), [(0.01, 0.002), (0.0, 0.005), (0.05, 0.0)])
def test_a_line_is_learned(fixed: float, per_request: float) -> None:
    latency, chance = Latency(), random.Random(1)
    for _ in range(1000):
        load = chance.randint(1, 30)
        latency.learn(load, (fixed + per_request * load) * chance.uniform(0.9, 1.1))
    for load in (5, 15, 30):
        assert latency.predict(load) == pytest.approx(fixed + per_request * load, rel=0.2)
    assert is_rising([latency.predict(load) for load in range(1, 40)])


def test_what_is_new_counts_most() -> None:
    latency = Latency()
    for _ in range(100):
        latency.learn(1, 0.01)
    for _ in range(100):
        latency.learn(1, 0.1)
    assert latency.predict(1) == pytest.approx(0.1, rel=0.01)


def test_most_answers_come_within_the_p95() -> None:
    latency, chance = Latency(), random.Random(2)
    within = []
    for number in range(3000):
        seconds = chance.expovariate(100)
        if number > 100:
            within.append(seconds <= latency.p95(1))
        latency.learn(1, seconds)
    assert sum(within) / len(within) == pytest.approx(0.95, abs=0.03)


def test_it_is_positive_whatever_was_seen() -> None:
    latency, chance = Latency(), random.Random(3)
    for _ in range(1000):
        latency.learn(chance.randint(1, 100), chance.choice([0.001, 1.0]))
        assert is_rising([0.0, *(latency.predict(load) for load in (1, 2, 10, 100, 1000))])
        assert latency.p95(1) >= latency.predict(1)
