"""The circuit breaker, by numbers."""

import pytest

from service.errors import (
    BatchyardError,
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    QueueFullError,
)
from service.routing.breaker import (
    CLOSED,
    FAILING_FOR,
    FAILURES,
    FIRST_PAUSE,
    HALF_OPEN,
    LATE,
    LATE_FOR,
    LONGEST_PAUSE,
    OPEN,
    Breaker,
    unbreakable,
)

ILL = ModelUnavailableError("no connection")


def broken(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    fail(breaker, FAILURES, now)
    return breaker


def fail(breaker: Breaker, times: int, now: float = 0.0, error: BaseException = ILL, waited: bool = True) -> None:
    for _ in range(times):
        breaker.heard(error, breaker.admit(now), now, waited)


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = Breaker()
    fail(breaker, FAILURES - 1)
    breaker.succeeded()
    fail(breaker, FAILURES - 1)
    assert (breaker.state(0.0), breaker.fault(0.0)) == (CLOSED, "")
    fail(breaker, 1)
    assert (breaker.state(0.0), breaker.fault(0.0)) == (OPEN, "no connection")
    assert breaker.retry_after(0.0) == FIRST_PAUSE


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ModelUnavailableError("away"), OPEN),
        (EngineFailedError("broken"), CLOSED),
        (EngineFailedError("a poison row", retryable=False), CLOSED),
        (InvalidRequestError("no"), CLOSED),
        (QueueFullError("full", 1.0), CLOSED),
        (DeadlineExceededError("late"), CLOSED),
        (BatchyardError("other"), CLOSED),
    ],
)
def test_only_what_says_that_it_is_ill_counts(error: BaseException, state: int) -> None:
    breaker = Breaker()
    fail(breaker, 3 * FAILURES, error=error)
    assert breaker.state(0.0) == state


def test_rows_at_fault_in_a_flood_are_no_illness_but_an_engine_that_answers_nobody_is() -> None:
    broken = EngineFailedError("broken")
    breaker = Breaker()
    for now in range(10):
        fail(breaker, 3 * FAILURES, float(now), broken)
        breaker.succeeded()
    assert breaker.state(9.0) == CLOSED
    fail(breaker, 3 * FAILURES, 10.0, broken)
    assert breaker.state(10.0) == CLOSED
    fail(breaker, 1, 10.0 + FAILING_FOR, broken)
    assert breaker.state(10.0 + FAILING_FOR) == OPEN


def test_after_the_pause_one_request_at_a_time_may_try() -> None:
    breaker = broken()
    assert not breaker.admit(FIRST_PAUSE / 2)
    assert breaker.state(FIRST_PAUSE) == HALF_OPEN
    assert breaker.admit(FIRST_PAUSE)
    assert breaker.fault(FIRST_PAUSE) == "no connection", "the others wait for what becomes of it"
    assert breaker.state(FIRST_PAUSE) == HALF_OPEN
    assert 0 < breaker.retry_after(FIRST_PAUSE) < LONGEST_PAUSE
    breaker.succeeded()
    assert (breaker.state(FIRST_PAUSE), breaker.fault(FIRST_PAUSE)) == (CLOSED, "")


def test_pauses_grow_and_are_bounded() -> None:
    breaker, now, pauses = broken(), 0.0, []
    for _ in range(8):
        now = breaker.until
        fail(breaker, 1, now)
        pauses.append(breaker.until - now)
    assert pauses == [2, 4, 8, 16, 30, 30, 30, 30]
    breaker.succeeded()
    fail(breaker, FAILURES, now)
    assert breaker.until == now + FIRST_PAUSE, "it is new again"


def test_requests_from_before_it_opened_do_not_make_the_pause_longer() -> None:
    breaker = broken()
    for _ in range(20):
        breaker.heard(ILL, False, 0.5, True)
    assert breaker.until == FIRST_PAUSE
    assert breaker.admit(FIRST_PAUSE)
    breaker.heard(ILL, False, FIRST_PAUSE, True)
    assert breaker.state(FIRST_PAUSE) == HALF_OPEN, "the probe is still on its way"


def test_a_probe_without_a_verdict_lets_the_next_one_try() -> None:
    breaker = broken()
    assert breaker.admit(FIRST_PAUSE)
    breaker.heard(InvalidRequestError("its own fault"), True, 2.0, True)
    assert breaker.fault(2.0) == ""
    assert breaker.admit(2.0)


def test_a_probe_that_never_ends_does_not_keep_others_out_for_good() -> None:
    breaker = broken()
    assert breaker.admit(FIRST_PAUSE)
    assert breaker.fault(FIRST_PAUSE + LONGEST_PAUSE - 0.1)
    assert breaker.admit(FIRST_PAUSE + LONGEST_PAUSE)


def test_a_late_batch_is_no_illness_but_nothing_else_for_long_is() -> None:
    late = DeadlineExceededError("late")
    breaker = Breaker()
    fail(breaker, 5 * LATE, 0.0, late)
    assert breaker.state(0.0) == CLOSED
    breaker.succeeded()
    fail(breaker, LATE, LATE_FOR, late)
    assert breaker.state(LATE_FOR) == CLOSED, "an answer came in between"
    fail(breaker, 1, 2 * LATE_FOR, late)
    assert breaker.state(2 * LATE_FOR) == OPEN


def test_callers_in_a_hurry_make_nobody_ill() -> None:
    breaker, hurried = Breaker(), DeadlineExceededError("the deadline of 1 ms passed")
    for now in range(100):
        fail(breaker, 1, float(now), hurried, waited=False)
    assert breaker.state(100.0) == CLOSED
    breaker = broken()
    fail(breaker, 1, FIRST_PAUSE, hurried, waited=False)
    assert breaker.admit(FIRST_PAUSE), "as a probe it says nothing"


def test_a_late_probe_is_a_failed_one() -> None:
    breaker = broken()
    fail(breaker, 1, FIRST_PAUSE, DeadlineExceededError("late"))
    assert breaker.until == FIRST_PAUSE + 2 * FIRST_PAUSE


def test_what_is_made_of_others_never_opens() -> None:
    breaker = unbreakable()
    fail(breaker, 1000)
    fail(breaker, LATE, 0.0, DeadlineExceededError("late"))
    fail(breaker, LATE, LATE_FOR, DeadlineExceededError("late"))
    assert breaker.state(LATE_FOR) == CLOSED
