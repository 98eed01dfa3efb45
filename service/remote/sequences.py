"""Which server has the state of which sequence."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from service.errors import EngineFailedError, InvalidRequestError, RetryLaterError
from service.remote.endpoint import Endpoint
from service.types import SequenceStep

MOST = 65_536
LEAST_IDLE = 60.0
"""Seconds that a sequence is remembered since its last request at least, longer than servers do."""


@dataclass(slots=True, eq=False)
class Pinned:
    """A sequence at its server. `turn`: its requests are sent one after the other."""

    endpoint: Endpoint
    used: float
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Sequences:
    """Used on the event loop. `idle`: seconds without a request after which a sequence is forgotten."""

    def __init__(self, model: str, idle: float, clock: Callable[[], float], most: int = MOST) -> None:
        self._model = model
        self._idle = max(idle, LEAST_IDLE)
        self._clock = clock
        self._most = most
        self._pinned: OrderedDict[int | str, Pinned] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pinned)

    def find(self, step: SequenceStep, choose: Callable[[], Endpoint]) -> Pinned:
        """Where a request of a sequence goes: where the one before it went; its first, where `choose` says."""
        now = self._clock()
        self._expire(now)
        pinned = self._pinned.get(step.id)
        if pinned is not None and not pinned.endpoint.up:
            self.forget(step.id)
            if not step.start:
                raise self.lost(step.id, pinned.endpoint)
            pinned = None
        if pinned is None:
            pinned = self._begin(step, choose, now)
        pinned.used = now
        self._pinned.move_to_end(step.id)
        return pinned

    def _begin(self, step: SequenceStep, choose: Callable[[], Endpoint], now: float) -> Pinned:
        if not step.start:
            raise InvalidRequestError(
                f"sequence {step.id!r} of model {self._model!r} is not known here; its first request must have "
                "sequence_start",
                "sequence_start",
            ).as_triton(
                f"inference request for sequence {step.id} to model '{self._model}' must specify the START flag on the "
                "first request of the sequence"
            )
        if len(self._pinned) >= self._most:
            text = f"{self._most} sequences run already; come back when one has ended"
            raise RetryLaterError(text, self._idle)
        pinned = self._pinned[step.id] = Pinned(choose(), now)
        return pinned

    def forget(self, sequence: int | str) -> None:
        """It has ended, or is lost."""
        self._pinned.pop(sequence, None)

    def lost(self, sequence: int | str, endpoint: Endpoint) -> EngineFailedError:
        """What a caller is told whose sequence had its state where nobody answers any more."""
        return EngineFailedError(
            f"sequence {sequence!r} of model {self._model!r} is lost: {endpoint.url} had its state and cannot be "
            f"asked: {endpoint.fault or 'it has left'}; begin it anew with sequence_start",
            retryable=False,
        )

    def _expire(self, now: float) -> None:
        while self._pinned:
            oldest, pinned = next(iter(self._pinned.items()))
            if now - pinned.used < self._idle or pinned.turn.locked():
                return
            del self._pinned[oldest]
