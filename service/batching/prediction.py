"""When a request would be answered: what runs, what is ahead of it, then its own batch. By the cost model alone."""

from dataclasses import dataclass

from service.batching.compose import Composer
from service.batching.cost import CostModel, Shape
from service.batching.ticket import BACKLOG, BUSY, IDLE, OVERTAKEN, Outlook
from service.errors import DeadlineHopelessError
from service.types import Prediction

OVERHEAD = 0.0005
"""Seconds that an answer takes beside its batch's engine: composing, laying out, waking threads and callers."""
_IDLE = float("-inf")
_AWAY = float("inf")
_PATIENT = 2.0
"""A ticket that is due later than this many times its outlook may be overtaken by what comes after it."""


@dataclass(slots=True)
class Forecast:
    """The engine instances of a model. `ends`: when each is free, -inf where it is idle, inf where it is away."""

    composer: Composer
    cost: CostModel
    ends: list[float]
    _full: tuple[int, float] | None = None

    @classmethod
    def of(cls, composer: Composer, cost: CostModel, instances: int) -> "Forecast":
        """All instances are idle."""
        return cls(composer, cost, [_IDLE] * instances)

    @property
    def instances(self) -> int:
        """How many serve."""
        return len(self.ends) - self.ends.count(_AWAY)

    @property
    def complete(self) -> bool:
        """Do all serve?"""
        return _AWAY not in self.ends

    @property
    def free(self) -> bool:
        """Is an instance idle?"""
        return _IDLE in self.ends

    @property
    def idle(self) -> bool:
        """Are all that serve?"""
        return all(end in (_IDLE, _AWAY) for end in self.ends)

    def overdue(self, now: float) -> float:
        """Seconds by which every instance that serves runs longer than predicted; 0 where one does not."""
        if _IDLE in self.ends:
            return 0.0
        return max(0.0, now - max([end for end in self.ends if end != _AWAY], default=now))

    def starts(self, instance: int, shape: Shape, now: float) -> None:
        """An instance begins a batch."""
        self.ends[instance] = now + self.cost.predict(shape)

    def ended(self, instance: int, shape: Shape, seconds: float | None) -> None:
        """An instance is free again; `seconds` None: the batch failed and teaches nothing."""
        self.ends[instance] = _IDLE
        if seconds is not None:
            self.cost.record(shape, seconds)
            self._full = None

    def returns(self, instance: int) -> None:
        """An instance is back, and idle."""
        self.ends[instance] = _IDLE

    def leaves(self, instance: int) -> None:
        """An instance is away until it `returns`."""
        self.ends[instance] = _AWAY

    def outlook(
        self, ahead: float, cost: int, alone: float, now: float, patience: float, along: float = 0.0
    ) -> Outlook:
        """Of a ticket of this cost with so much cost ahead of it, that of the same request included.

        `alone`: seconds of a batch that holds only it. `patience`: seconds until it is due. `along`: cost of what is
        not ahead, and rides with it.
        """
        if not alone:
            return Outlook(0.0, 0.0, IDLE)
        slots, seconds = self._full or self.full()
        start = self._start(int((ahead + cost - 1) // slots), seconds, now)
        whole = start + alone + OVERHEAD
        full = ahead + along
        if full and seconds > alone:  # it rides with others, behind a backlog in a full batch
            whole += (full / slots if full < slots else 1.0) * (seconds - alone)
        if ahead < slots:
            load = BUSY if ahead or not self.free else IDLE
        else:
            load = OVERTAKEN if patience > _PATIENT * whole else BACKLOG
        return Outlook(start, whole, load)

    def _start(self, batches: int, seconds: float, now: float) -> float:
        """Seconds until an instance is free after `batches` full ones: each goes to the one that is free first."""
        ends = self.ends
        if not batches and _IDLE in ends:
            return 0.0
        ends = sorted(ends)
        serving = len(ends) - ends.count(_AWAY) or 1
        rounds, last = divmod(batches, serving)
        return _until(ends[last], now) + rounds * seconds

    def drain(self, costs: float) -> float:
        """Seconds until so much more of what waits is done."""
        slots, seconds = self.full()
        return costs / slots * seconds / max(1, self.instances)

    def limit(self, composer: Composer) -> None:
        """From now on batches are made by this."""
        self.composer = composer
        self._full = None

    def full(self) -> tuple[int, float]:
        """Slots and seconds of the batch that a backlog fills."""
        if self._full is None:
            self._full = self.cost.best(self.composer.shapes())
        return self._full


def _until(end: float, now: float) -> float:
    """Seconds until an instance is free; what should have been free already is busy nevertheless."""
    if end in (_IDLE, _AWAY):
        return 0.0
    return max(OVERHEAD, end - now)


def hopeless(predicted: Prediction, left: float, probe: float) -> DeadlineHopelessError:
    """The refusal, with the time until so much of the queue is done that it would fit; at least that of a probe."""
    drain = (predicted.p95 - left) * (predicted.seconds / predicted.p95 if predicted.p95 else 1.0)
    return DeadlineHopelessError(
        f"a deadline in {max(0.0, 1000 * left):.0f} ms cannot be met: it is predicted in "
        f"{1000 * predicted.seconds:.0f} ms, and in {1000 * predicted.p95:.0f} ms with 95 % certainty",
        drain if drain <= predicted.queue else max(drain, probe),
    )
