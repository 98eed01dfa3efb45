"""Which server has the state of which sequence."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from engines.errors import EngineBusyError, EngineUnreachableError, InvalidInputError
from service import triton_words
from service.errors import EngineFailedError, InvalidRequestError, RetryLaterError
from service.remote.endpoint import Endpoint
from service.types import SequenceStep

MOST = 65_536
MOST_OF_ONE = 512
"""Requests of one sequence at once, all but one of which wait for their turn."""
_COMES_BACK = 0.1
"""Seconds after which one of so many will have been answered."""
LEAST_IDLE = 60.0
"""Seconds that a sequence is remembered since its last request at least, longer than servers do."""


@dataclass(slots=True, eq=False)
class Pinned:
    """A sequence at its server. `turn`: its requests are sent one after the other. `requests`: how many there are."""

    endpoint: Endpoint
    used: float
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    requests: int = 0


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

    @asynccontextmanager
    async def turn(self, step: SequenceStep, choose: Callable[[], Endpoint]) -> AsyncIterator[Endpoint]:
        """Where a request of a sequence is to be asked, once those before it were answered. `choose`: see `find`."""
        known = self._pinned.get(step.id)
        pinned = self.find(step, choose)
        if pinned.requests >= MOST_OF_ONE:
            raise RetryLaterError(f"sequence {step.id!r} has {MOST_OF_ONE} requests already", _COMES_BACK)
        pinned.requests += 1
        over = False
        try:
            async with pinned.turn:
                if not pinned.endpoint.up or self._pinned.get(step.id) is not pinned:
                    raise self.lost(step.id, pinned.endpoint)
                yield pinned.endpoint
            over = step.end
        except EngineUnreachableError as error:
            self.forget(step.id, pinned)
            raise self.lost(step.id, pinned.endpoint) from error
        except (EngineBusyError, InvalidInputError):
            over = pinned is not known  # its first request was refused: it has no state there
            raise
        finally:
            pinned.requests -= 1
            if over and not pinned.requests:
                self.forget(step.id, pinned)

    def find(self, step: SequenceStep, choose: Callable[[], Endpoint]) -> Pinned:
        """Where a request of a sequence goes: where the one before it went; its first, where `choose` says."""
        now = self._clock()
        self._expire(now)
        pinned = self._pinned.get(step.id)
        if pinned is not None and not pinned.endpoint.up:
            self.forget(step.id, pinned)
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
            ).as_triton(triton_words.without_start(self._model, step.id))
        if len(self._pinned) >= self._most:
            text = f"{self._most} sequences run already; come back when one has ended"
            raise RetryLaterError(text, self._idle)
        pinned = self._pinned[step.id] = Pinned(choose(), now)
        return pinned

    def forget(self, sequence: int | str, pinned: Pinned) -> None:
        """It has ended, or is lost; another that began under its name since is not."""
        if self._pinned.get(sequence) is pinned:
            del self._pinned[sequence]

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
            if now - pinned.used < self._idle or pinned.requests:
                return
            del self._pinned[oldest]
