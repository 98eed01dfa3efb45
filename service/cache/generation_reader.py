"""One caller's end of a generation that several share."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from copy import copy

from engines.generation import Event
from service.cache.shared_generation import SharedGeneration
from service.errors import BatchyardError, DeadlineExceededError, SlowReaderError
from service.generating import GenerationTiming
from service.types import Cached, Routed

_GROUP = 64
"""Events that one `read` brings at most, to whoever joined late and finds many."""


class GenerationReader:
    """Implements `service.generating.Generation` over a `SharedGeneration` that has begun.

    `buffer`: events that may come while it does not read; beyond, it alone is cut off. `deadline`: on the clock,
    inf where the shared generation's own is the caller's, too.
    """

    def __init__(
        self, shared: SharedGeneration, cached: Cached, buffer: int, deadline: float, clock: Callable[[], float]
    ) -> None:
        self.cached = cached
        self._shared = shared
        self._buffer = buffer
        self._deadline = deadline
        self._clock = clock
        self._start = clock()
        self._first = 0.0
        self._position = 0
        self._known = len(shared.events)
        self._reading = False
        self._closed = False
        self._error: Exception | None = None
        self._paid: float | None = None
        shared.join(self)

    async def begin(self) -> None:
        """Waits until something answers; raises what kept it from that, and `DeadlineExceededError`. To be closed in
        every case, then."""
        while not self._shared.begun:
            await self._wait()
        inner = self._shared.generation
        self.model, self.version, self.engine = inner.model, inner.version, inner.engine
        self.metadata: Mapping[str, str] = inner.metadata
        self.routed: Routed = self._shared.routed

    @property
    def timing(self) -> GenerationTiming:
        """The shared one's where it was asked for by this caller; else what this caller waited."""
        inner = self._shared.generation.timing
        seconds = self._shared.share_of(self) if self._paid is None else self._paid
        if self.cached.verdict == "miss":
            return GenerationTiming(inner.queue, inner.first_token, inner.per_token, inner.predicted, seconds)
        return GenerationTiming(0.0, self._first, inner.per_token, inner.predicted, seconds)

    async def read(self) -> Sequence[Event]:
        """See `Generation`."""
        shared = self._shared
        while self._position == len(shared.events):
            if self._closed or shared.complete:
                return ()
            await self._wait()
        self._check()
        if not self._position:
            self._first = self._clock() - self._start
        events = shared.events[self._position : self._position + _GROUP]
        self._position += len(events)
        self._known = len(shared.events)
        return events

    async def _wait(self) -> None:
        """Until there is news; raises the error that this caller, or all, are told."""
        self._check()
        left = self._deadline - self._clock()
        self._reading = True
        try:
            async with asyncio.timeout(left if left < float("inf") else None):
                await self._shared.news.wait()
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed before the answer was complete") from None
        finally:
            self._reading = False

    def _check(self) -> None:
        """Raises the error that this caller, or all, are told: each a copy, which holds on to nothing else."""
        error = self._error or (self._shared.error if self._position == len(self._shared.events) else None)
        if error is not None:
            raise copy(error) if isinstance(error, BatchyardError) else error

    def came(self, events: int) -> None:
        """See `service.cache.shared_generation.Listener`: one that does not wait for events may be slow."""
        waiting = events - self._known
        if waiting > self._buffer and not self._reading:
            self._error = SlowReaderError(f"{waiting} pieces of the answer wait to be read; read faster")
            self._leave()

    def close(self) -> None:
        """See `Generation`."""
        self._closed = True
        self._position = len(self._shared.events)
        self._leave()

    def _leave(self) -> None:
        if self._paid is None:
            self._paid = self._shared.share_of(self)
            self._shared.charge(self._paid)
            self._shared.leave(self)
