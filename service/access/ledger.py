"""What a tenant may use, and has used: all its windows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.access.window import MEASURES, ONE_REQUEST, Measure, Room, Window
from service.tenant_settings import WindowSettings

Clock = Callable[[], float]
"""Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Full:
    """A window has no room. `wait`: seconds until it has."""

    measure: Measure
    seconds: int
    limit: float
    wait: float


class Ledger:
    """The windows of one tenant, as this gateway sees them. Used on the event loop."""

    def __init__(self, limits: Sequence[WindowSettings], clock: Clock) -> None:
        self.clock = clock
        self.windows = [Window(one, clock()) for one in limits]

    async def admit(self) -> Full | None:
        """Counts one request, where all windows have room for it; else says which has not."""
        full = self.full()
        if full is None:
            self.add(ONE_REQUEST)
        return full

    def charge(self, tokens: float, engine_seconds: float) -> None:
        """Counts what a request has used, once that is known."""
        self.add((0.0, tokens, engine_seconds))

    async def refresh(self) -> None:
        """Learns what other gateways have counted: there are none."""

    def full(self) -> Full | None:
        """The window that lets in the next request last; None where all do now."""
        now = self.clock()
        found: Full | None = None
        for window in self.windows:
            wait, measure = window.wait(ONE_REQUEST, now)
            if wait and (found is None or wait > found.wait):
                found = Full(measure, window.seconds, window.limits[MEASURES.index(measure)], wait)
        return found

    def add(self, amounts: Sequence[float]) -> None:
        """To the current bucket of every window."""
        now = self.clock()
        for window in self.windows:
            window.roll(now)
            window.own.add(amounts)

    def rooms(self) -> list[Room]:
        """All measures of all windows."""
        now = self.clock()
        return [room for window in self.windows for room in window.rooms(now)]
