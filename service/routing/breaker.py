"""Remembers that a replica is ill, so that callers need not find out one by one."""

import math

from service.errors import DeadlineExceededError, EngineFailedError, ModelUnavailableError

FAILURES = 5
"""In a row, before a replica counts as ill: Envoy's consecutive_5xx."""
FAILING_FOR = 1.0
"""Seconds without an answer that failures of the engine must last: rows at fault that come in a flood fail quickly, one
by one, and those of other callers are answered in between."""
FIRST_PAUSE = 1.0
"""Seconds until an ill replica is tried again. Doubled each time that fails."""
LONGEST_PAUSE = 30.0
"""Seconds: a server that is back is used again within this time."""
LATE = 10
"""Accepted requests that miss their deadline in a row, before that counts as illness ..."""
LATE_FOR = 5.0
"""... if no answer came for so many seconds: a batch of a healthy replica that is too busy is late all at once."""

CLOSED, HALF_OPEN, OPEN = 0, 1, 2


class Breaker:
    """Nygard's circuit breaker ("Release It!"). Closed: all may ask. Open: none. Half-open, after the pause: one.

    The time is an argument, in seconds. `most`: failures in a row that open it, inf: nothing does.
    """

    __slots__ = ("_failing_since", "_failures", "_late", "_late_since", "_most", "_pause", "_probing", "_said", "until")

    def __init__(self, most: float = FAILURES) -> None:
        self.until = 0.0
        """When a request may try again; 0 while it is closed."""
        self._most = most
        self._failures = self._late = 0
        self._late_since = self._failing_since = 0.0
        self._pause = FIRST_PAUSE
        self._probing = False
        self._said = ""

    def state(self, now: float) -> int:
        """`CLOSED`, `HALF_OPEN` or `OPEN`."""
        if not self.until:
            return CLOSED
        return OPEN if now < self.until and not self._probing else HALF_OPEN

    def fault(self, now: float) -> str:
        """Why no request should be made now; "" if one may."""
        return self._said if now < self.until else ""

    def retry_after(self, now: float) -> float:
        """Seconds until a request may be made, 0: now. While one is being tried: a guess."""
        if now >= self.until:
            return 0.0
        return self._pause if self._probing else self.until - now

    def admit(self, now: float) -> bool:
        """A request is made. True: it is the probe, and others wait for what becomes of it."""
        if not self.until or now < self.until:
            return False
        self._probing = True
        self.until = now + LONGEST_PAUSE
        return True

    def succeeded(self) -> None:
        """A request was answered: all is well."""
        if self._failures or self._late or self.until:
            self.until = 0.0
            self._failures = self._late = 0
            self._pause = FIRST_PAUSE
            self._probing = False

    def heard(self, error: BaseException, probe: bool, now: float, waited: bool) -> None:
        """A request ended with an error. Only what says that the replica is ill counts. `waited`: it was given time
        enough for a missed deadline to say anything."""
        match error:
            case ModelUnavailableError():
                self._failed(str(error), probe, now, 0.0)
            case EngineFailedError(retryable=True):
                self._failed(str(error), probe, now, FAILING_FOR)
            case DeadlineExceededError() if waited:
                self._missed(str(error), probe, now)
            case _ if probe:
                self._probing = False
                self.until = now

    def _failed(self, said: str, probe: bool, now: float, lasting: float) -> None:
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        long = self._failures >= self._most and now >= self._failing_since + lasting
        if probe:
            self._open(said, min(2 * self._pause, LONGEST_PAUSE), now)
        elif long and not self.until:
            self._open(said, self._pause, now)

    def _missed(self, said: str, probe: bool, now: float) -> None:
        if not self._late:
            self._late_since = now
        self._late += 1
        long = self._late >= LATE and now - self._late_since >= LATE_FOR
        if probe or (long and not self.until and self._most < math.inf):
            self._open(said, min(2 * self._pause, LONGEST_PAUSE) if probe else self._pause, now)

    def _open(self, said: str, pause: float, now: float) -> None:
        self._probing = False
        self._pause = pause
        self._said = said
        self.until = now + pause


def unbreakable() -> Breaker:
    """Of what is made of other replicas, which have their own: it is as ill as they are, no longer."""
    return Breaker(math.inf)
