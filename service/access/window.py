"""What one tenant has used within one of its windows."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from service.access.buckets import used, wait
from service.tenant_settings import WindowSettings

Measure = Literal["requests", "tokens", "engine_seconds"]
MEASURES: tuple[Measure, ...] = ("requests", "tokens", "engine_seconds")
ONE_REQUEST = (1.0, 0.0, 0.0)
_NOTHING = (0.0, 0.0, 0.0)


class Room(NamedTuple):
    """Of one measure of a window. `seconds`: the window's. `limit`: 0 where there is none. `reset`: seconds until
    nothing of what was used counts any more."""

    measure: Measure
    seconds: int
    limit: float
    used: float
    reset: float

    @property
    def remaining(self) -> float:
        return max(0.0, self.limit - self.used)


class Use:
    """What was used in the bucket before and in the current one, of each measure, in their order."""

    __slots__ = ("before", "current")

    def __init__(self, before: Sequence[float] = _NOTHING, current: Sequence[float] = _NOTHING) -> None:
        self.before = list(before)
        self.current = list(current)

    def shift(self, buckets: int) -> None:
        """So many buckets have begun since."""
        if buckets:
            self.before = self.current if buckets == 1 else list(_NOTHING)
            self.current = list(_NOTHING)

    def add(self, amounts: Sequence[float]) -> None:
        """To the current bucket."""
        self.current = [found + amount for found, amount in zip(self.current, amounts, strict=True)]

    def join(self, other: "Use") -> None:
        """What the other holds is in this one too."""
        self.before = [mine + theirs for mine, theirs in zip(self.before, other.before, strict=True)]
        self.add(other.current)


class Window:
    """`known`: what all gateways had used when they last told each other. `own`: what this one has used since. `sent`:
    what is on its way to them. `number`: of the current bucket where gateways share it, -1: nobody was asked yet.

    `peers`: gateways there are; while they cannot tell each other, each takes it that the others use what it uses.
    """

    def __init__(self, settings: WindowSettings, now: float) -> None:
        self.seconds = settings.seconds
        self.limits = (float(settings.requests), float(settings.tokens), settings.engine_seconds)
        self.known, self.own, self.sent = Use(), Use(), Use()
        self.number = -1
        self.peers = 1
        self._start = now

    def roll(self, now: float) -> float:
        """Begins the buckets that are due; the share of the current one that is over."""
        passed = int((now - self._start) // self.seconds)
        if passed > 0:
            self._shift(passed)
            self._start += passed * self.seconds
        return min(1.0, max(0.0, (now - self._start) / self.seconds))

    def send(self, now: float) -> None:
        """What this gateway has used is on its way to the others."""
        self.roll(now)
        self.sent, self.own = self.own, Use()

    def take_back(self) -> None:
        """It did not get there, as far as is known."""
        self.own.join(self.sent)
        self.sent = Use()

    def learn(self, number: int, elapsed: float, numbers: Sequence[float], now: float) -> None:
        """What all gateways have used, as the one place says that they share, what was sent included.

        `elapsed`: seconds of its bucket.
        """
        self.roll(now)
        if self.number >= 0:
            self._shift(max(0, number - self.number))
        self.number = number
        self._start = now - elapsed
        self.sent = Use()
        self.known = Use(numbers[::2], numbers[1::2])

    def wait(self, amounts: Sequence[float], now: float) -> tuple[float, Measure]:
        """Seconds until there is room for the amounts, and the measure that lacks it; see `buckets.wait`."""
        elapsed = self.roll(now)
        longest, lacking = 0.0, MEASURES[0]
        for at, limit in enumerate(self.limits):
            if limit:
                windows = wait(*self._total(at), limit, amounts[at], elapsed)
                if windows > longest:
                    longest, lacking = windows, MEASURES[at]
        return longest * self.seconds, lacking

    def rooms(self, now: float) -> list[Room]:
        """All measures."""
        elapsed = self.roll(now)
        return [self._room(at, elapsed) for at in range(len(MEASURES))]

    def _room(self, at: int, elapsed: float) -> Room:
        before, current = self._total(at)
        left = 2.0 - elapsed if current else 1.0 - elapsed if before else 0.0
        found = used(before, current, elapsed)
        return Room(MEASURES[at], self.seconds, self.limits[at], found, left * self.seconds)

    def _total(self, at: int) -> tuple[float, float]:
        """Of one measure, in the bucket before and in the current one."""
        known, own, sent = self.known, self.own, self.sent
        before = known.before[at] + self.peers * (own.before[at] + sent.before[at])
        return before, known.current[at] + self.peers * (own.current[at] + sent.current[at])

    def _shift(self, buckets: int) -> None:
        for use in (self.known, self.own, self.sent):
            use.shift(buckets)
        if self.number >= 0:
            self.number += buckets
