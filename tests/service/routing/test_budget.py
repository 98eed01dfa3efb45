"""The retry budget, by numbers."""

from service.routing.budget import FLOOR, SECONDS, RetryBudget

RESERVE = int(FLOOR * SECONDS)


def withdrawn(budget: RetryBudget, now: float) -> int:
    """Takes all there is."""
    taken = 0
    while budget.withdraw(now):
        taken += 1
    return taken


def test_a_quiet_route_has_a_few() -> None:
    budget = RetryBudget(0.1)
    assert withdrawn(budget, 5.0) == RESERVE
    assert not budget.withdraw(5.0 + SECONDS - 1)
    assert withdrawn(budget, 5.0 + SECONDS) == RESERVE


def test_requests_pay_in_their_share() -> None:
    budget = RetryBudget(0.1)
    for number in range(1000):
        budget.deposit(number / 200)
    assert 99 + RESERVE <= withdrawn(budget, 5.0) <= 100 + RESERVE


def test_what_was_paid_in_is_gone_after_a_while() -> None:
    budget = RetryBudget(0.5)
    for _ in range(1000):
        budget.deposit(0.0)
    for _ in range(100):
        budget.deposit(9.0)
    assert withdrawn(budget, 10.5) == 50 + RESERVE
    assert RetryBudget(0.5).withdraw(1e9)


def test_no_share_is_no_retry() -> None:
    budget = RetryBudget(0.0)
    budget.deposit(0.0)
    assert not budget.withdraw(0.0)


def test_a_failing_service_gets_little_more_than_its_load() -> None:
    budget, retries = RetryBudget(0.1), 0
    for number in range(60_000):
        now = number / 1000
        budget.deposit(now)
        retries += budget.withdraw(now)
    assert retries <= 0.1 * 60_000 + FLOOR * 60 + RESERVE
    assert retries >= 0.1 * 60_000
