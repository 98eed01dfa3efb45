"""One server that a model's requests may go to, and what is known of it."""

import asyncio
from dataclasses import dataclass, field

from engines.remote_model import RemoteModel
from service.remote.latency import Latency

NOT_PROBED = "it was not reached yet"


@dataclass(slots=True, eq=False)
class Endpoint:
    """`fault`: why it is given no requests, "" while it is. `until`: on the gateway's clock, before which a good probe
    does not bring it back. `in_flight`: requests it has now; `running`: what is awaited of it. `leaving`: its name no
    longer has its address. `heard`: when it last gave a sign of life; `learned`: an answer.

    `lost_probes`, `failures`: in a row. `pause`: seconds that it stays away after the next row of failures.
    `ejections`, `retries`: how often it was taken out, and how often another was to be asked in its stead.
    """

    url: str
    remote: RemoteModel
    fault: str = NOT_PROBED
    until: float = 0.0
    in_flight: int = 0
    running: set[asyncio.Timeout] = field(default_factory=set)
    leaving: bool = False
    heard: float = 0.0
    learned: float = 0.0
    lost_probes: int = 0
    failures: int = 0
    failing_since: float = 0.0
    pause: float = 1.0
    asked: int = 0
    ejections: int = 0
    retries: int = 0
    latency: Latency = field(default_factory=Latency)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where a probe is wanted at once."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it has no request."""

    def __post_init__(self) -> None:
        self.idle.set()

    def enter(self) -> int:
        """It is given a request; returns how many it has now. `leave` is to follow."""
        self.in_flight += 1
        self.idle.clear()
        return self.in_flight

    def leave(self) -> None:
        """A request has ended there."""
        self.in_flight -= 1
        if not self.in_flight:
            self.idle.set()

    def cut(self) -> None:
        """Gives up what is awaited of it. Those who wait are told that it is gone."""
        for asked in self.running:
            if not asked.expired():
                asked.reschedule(0.0)

    @property
    def up(self) -> bool:
        """Is it given requests?"""
        return not self.fault and not self.leaving
