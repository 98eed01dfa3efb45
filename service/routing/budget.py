"""How many requests may be tried twice: without a bound, retries would double the load of what is failing."""

SECONDS = 10
"""What the budget looks back on; Finagle's window."""
FLOOR = 3.0
"""Retries a second that are always allowed, so that a route with little traffic has some."""


class RetryBudget:
    """Finagle's RetryBudget: each request pays in `share` of a retry, which is gone after `SECONDS`.

    The time is an argument, in seconds.
    """

    __slots__ = ("_balances", "_second", "_share")

    def __init__(self, share: float) -> None:
        self._share = share
        self._second = 0
        self._balances = [0.0] * SECONDS

    def deposit(self, now: float) -> None:
        """A request came."""
        self._forget(int(now))
        self._balances[self._second % SECONDS] += self._share

    def withdraw(self, now: float) -> bool:
        """Takes one retry; False: there is none left."""
        self._forget(int(now))
        if not self._share or sum(self._balances) + FLOOR * SECONDS < 1.0:
            return False
        self._balances[self._second % SECONDS] -= 1.0
        return True

    def _forget(self, second: int) -> None:
        if second != self._second:
            for old in range(max(self._second + 1, second - SECONDS + 1), second + 1):
                self._balances[old % SECONDS] = 0.0
            self._second = second
