"""What one tenant has used within one of its windows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from service.access.buckets import Buckets
from service.tenant_settings import WindowSettings

Measure = Literal["requests", "tokens", "engine_seconds"]
MEASURES: tuple[Measure, ...] = ("requests", "tokens", "engine_seconds")
ONE_REQUEST = (1.0, 0.0, 0.0)


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


@dataclass(slots=True, eq=False)
class Use:
    """Of each measure, in their order."""

    buckets: tuple[Buckets, ...] = field(default_factory=lambda: tuple(Buckets() for _ in MEASURES))

    def shift(self, buckets: int) -> None:
        for one in self.buckets:
            one.shift(buckets)

    def add(self, amounts: Sequence[float]) -> None:
        for one, amount in zip(self.buckets, amounts, strict=True):
            one.current += amount

    def join(self, other: "Use") -> None:
        """What the other holds is in this one too."""
        for mine, theirs in zip(self.buckets, other.buckets, strict=True):
            mine.before += theirs.before
            mine.current += theirs.current

    def numbers(self) -> list[float]:
        return [number for one in self.buckets for number in (one.before, one.current)]


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
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        self.known = Use(tuple(Buckets(before, current) for before, current in pairs))

    def wait(self, amounts: Sequence[float], now: float) -> tuple[float, Measure]:
        """Seconds until there is room for the amounts, and the measure that lacks it; see `Buckets.wait`."""
        elapsed = self.roll(now)
        waits = [
            (one.wait(limit, amount, elapsed) * self.seconds, measure)
            for one, limit, amount, measure in zip(self._total(), self.limits, amounts, MEASURES, strict=True)
            if limit
        ]
        return max(waits, default=(0.0, "requests"))

    def rooms(self, now: float) -> list[Room]:
        """All measures."""
        elapsed = self.roll(now)
        return [
            Room(measure, self.seconds, limit, one.used(elapsed), self._reset(one, elapsed))
            for one, limit, measure in zip(self._total(), self.limits, MEASURES, strict=True)
        ]

    def _reset(self, used: Buckets, elapsed: float) -> float:
        left = 2.0 - elapsed if used.current else 1.0 - elapsed if used.before else 0.0
        return left * self.seconds

    def _total(self) -> list[Buckets]:
        own = Use()
        own.join(self.own)
        own.join(self.sent)
        return [
            Buckets(known.before + self.peers * one.before, known.current + self.peers * one.current)
            for known, one in zip(self.known.buckets, own.buckets, strict=True)
        ]

    def _shift(self, buckets: int) -> None:
        for use in (self.known, self.own, self.sent):
            use.shift(buckets)
        if self.number >= 0:
            self.number += buckets
