"""Remembers that another server could not be reached, so that callers need not find out one by one."""

from collections.abc import Callable

FAILURES = 3
"""Connections that fail in a row before the server counts as away."""
PAUSE = 5.0
"""Seconds until the next request tries it again."""


class Breaker:
    """Opens after `FAILURES`; after `PAUSE` one request at a time may probe until one reaches the server."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._until = 0.0
        self._said = ""

    @property
    def fault(self) -> str:
        """Why no request should be made now; "" if one may."""
        return self._said if self._clock() < self._until else ""

    def begin(self) -> None:
        """A request is made: while the server counts as away, others wait for what comes of it."""
        if self._failures >= FAILURES:
            self._until = self._clock() + PAUSE

    def reached(self) -> None:
        """The server answered something."""
        self._failures, self._until = 0, 0.0

    def failed(self, said: str) -> None:
        """The server could not be reached."""
        self._failures += 1
        if self._failures >= FAILURES:
            self._said = said
            self._until = self._clock() + PAUSE
