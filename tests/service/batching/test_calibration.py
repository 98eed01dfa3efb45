import random
from concurrent.futures import Future

import pytest

from service.batching.calibration import Calibration
from service.batching.ticket import BACKLOG, BUSY, IDLE, Outlook, Waiting
from service.types import NO_PREDICTION


def stream(calibration: Calibration, ratios: list[float], load: int = IDLE, *, start: float = 0.0) -> float:
    """Answers, one after the other, whose time is so many times what was expected; the share within their p95."""
    within = 0
    for number, ratio in enumerate(ratios):
        now = start + 0.01 * number
        outlook = Outlook(0.0, 0.010, load)
        waiting = Waiting(Future(), [None], 1, now, outlook, calibration.predict(outlook, now), 0.010 * ratio)
        within += waiting.actual <= waiting.predicted.p95
        calibration.answered([waiting], now)
    return within / len(ratios)


def p95(calibration: Calibration, load: int = IDLE, now: float = 0.0) -> float:
    """In units of what the cost model expects."""
    return calibration.predict(Outlook(0.0, 0.010, load), now).p95 / 0.010


def test_nothing_is_predicted_where_the_cost_model_knows_nothing() -> None:
    assert Calibration().predict(Outlook(0.0, 0.0, IDLE), 0.0) == NO_PREDICTION


@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0])
def test_19_of_20_are_within_whatever_the_spread(spread: float) -> None:
    dice = random.Random(3)
    calibration = Calibration()
    assert 0.93 < stream(calibration, [dice.lognormvariate(0.2, spread) for _ in range(4000)]) < 0.98


def test_a_step_of_the_machine_is_followed() -> None:
    dice = random.Random(3)
    calibration = Calibration()
    steps = [4.0 if number // 500 % 2 else 1.0 for number in range(6000)]
    assert 0.92 < stream(calibration, [step * dice.lognormvariate(0.0, 0.2) for step in steps]) < 0.98


def test_loads_are_learnt_apart() -> None:
    calibration = Calibration()
    stream(calibration, [1.0] * 300, IDLE)
    stream(calibration, [3.0] * 300, BACKLOG, start=0.001)
    assert p95(calibration, IDLE, 3.0) < 1.5
    assert 2.5 < p95(calibration, BACKLOG, 3.0) < 5.0


def test_a_load_that_was_not_seen_for_long_is_taken_to_be_as_the_last_one() -> None:
    calibration = Calibration()
    stream(calibration, [8.0] * 300, BUSY)
    stream(calibration, [1.0] * 300, IDLE, start=20.0)
    assert p95(calibration, BUSY, 23.0) == p95(calibration, IDLE, 23.0) < 2.0


def given_up(calibration: Calibration, count: int, after: float, *, now: float = 1.0) -> None:
    outlook = Outlook(0.0, 0.010, IDLE)
    for _ in range(count):
        waiting = Waiting(Future(), [None], 1, now - after, outlook, calibration.predict(outlook, now))
        calibration.given_up(waiting, now)


def test_who_leaves_before_the_p95_tells_nothing() -> None:
    calibration = Calibration()
    given_up(calibration, 10, 0.005)
    assert calibration.predictions == 0
    assert p95(calibration) == 1.5


def test_a_stall_that_many_wait_for_is_one_accident() -> None:
    calibration = Calibration()
    stream(calibration, [1.0] * 300)
    before = p95(calibration, now=3.0)
    given_up(calibration, 100, 2.0, now=3.0)
    assert before < p95(calibration, now=3.0) < 1.3 * before
    assert calibration.predictions == 400
    assert calibration.within == 300
