"""The caller's end of a request that is generated in this process."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from engines.generation import Event, Usage
from service.errors import DeadlineExceededError, SlowReaderError
from service.generating import GenerationTiming
from service.generation.ticket import Ticket
from service.types import DIRECT, NOT_CACHED, Cached, Routed


class LocalGeneration:
    """Implements `service.generating.Generation`: gathers the events of its answers until they are read.

    `buffer`: events that may wait for a slow reader; beyond, the request ends. `drop`: takes a ticket out of queue or
    engine.
    """

    metadata: Mapping[str, str] = MappingProxyType({})
    routed: Routed = DIRECT
    cached: Cached = NOT_CACHED

    def __init__(
        self,
        answerer: tuple[str, str, str],
        prompt_tokens: int,
        arrival: float,
        buffer: int,
        drop: Callable[[Ticket], None],
    ) -> None:
        self.model, self.version, self.engine = answerer
        self.timing = GenerationTiming()
        self.tickets: list[Ticket] = []
        self._prompt_tokens = prompt_tokens
        self._arrival = arrival
        self._buffer = buffer
        self._drop = drop
        self._events: list[Event] = []
        self._error: Exception | None = None
        self._closed = False
        self._reader: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cached = 0
        self._tokens = 0

    def expire_in(self, seconds: float) -> None:
        """Ends it with `DeadlineExceededError` if it is not complete by then."""
        if seconds < float("inf"):
            self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._expire)

    def _expire(self) -> None:
        so_far = f"{self._tokens} tokens were there" if self._tokens else "no token was there"
        self.fail(DeadlineExceededError(f"the deadline passed before the answer was complete; {so_far}"))

    async def read(self) -> Sequence[Event]:
        """All events since the last call; see `Generation`."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._closed or not self.tickets:
                return ()
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Ends it; see `Generation`."""
        self._closed = True
        self._events = []
        self._end()

    def started(self, now: float) -> None:
        """One of its answers left the queue."""
        self.timing.queue = now - self._arrival

    def charge(self, seconds: float) -> None:
        """A share of a step was one of its answers'."""
        self.timing.engine_seconds += seconds

    def put(self, events: list[Event], tokens: int, cached_tokens: int, now: float) -> None:
        """Events of one answer, made of so many new tokens."""
        if tokens:
            self._count(tokens, now)
        self._cached += cached_tokens
        if not events or self._closed or self._error is not None:
            return
        self._events += events
        if len(self._events) > self._buffer and self._reader is None:  # one that waits in `read` is not slow
            self.fail(SlowReaderError(f"{len(self._events)} pieces of the answer wait to be read; read faster"))
        self._wake()

    def _count(self, tokens: int, now: float) -> None:
        timing = self.timing
        if not self._tokens:
            timing.first_token = now - self._arrival
        self._tokens += tokens
        later = self._tokens - 1
        if later:
            timing.per_token = (now - self._arrival - timing.first_token) / later * len(self.tickets)

    def finished(self) -> None:
        """One of its answers is complete; the last one brings the usage."""
        if any(not other.over for other in self.tickets):
            return
        texts = [other.text for other in self.tickets]
        completion, reasoning = sum(t.completion_tokens for t in texts), sum(t.reasoning_tokens for t in texts)
        self._events.append(Usage(self._prompt_tokens, completion, self._cached, reasoning))
        self._end()

    def fail(self, error: Exception) -> None:
        """Nothing more comes but this error, behind what is there."""
        if self._error is None and not self._closed:
            self._error = error
            self._end()

    def _end(self) -> None:
        tickets, self.tickets = self.tickets, []
        for ticket in tickets:
            if not ticket.over:
                self._drop(ticket)
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
