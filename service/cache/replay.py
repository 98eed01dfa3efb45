"""A generation that is answered from what was kept of an earlier one."""

import asyncio
from collections.abc import Callable, Sequence

from engines.generation import Event
from service.cache.transcript import Transcript
from service.generating import GenerationTiming
from service.types import DIRECT, Cached, Routed

GROUP = 32
"""Events that one `read` brings at most: a long answer is written in pieces, between which others have their turn."""


class Replay:
    """Implements `service.generating.Generation`. Its timing is its own: it waited in no queue and cost no engine."""

    routed: Routed = DIRECT

    def __init__(self, transcript: Transcript, cached: Cached, start: float, clock: Callable[[], float]) -> None:
        self.model, self.version, self.engine = transcript.model, transcript.version, transcript.engine
        self.metadata = transcript.metadata
        self.cached = cached
        self.timing = GenerationTiming()
        self._events = transcript.events
        self._position = 0
        self._start = start
        self._clock = clock

    async def read(self) -> Sequence[Event]:
        """See `Generation`."""
        if self._position:
            await asyncio.sleep(0)
        else:
            self.timing.first_token = self._clock() - self._start
        events = self._events[self._position : self._position + GROUP]
        self._position += len(events)
        return events

    def close(self) -> None:
        """See `Generation`."""
        self._position = len(self._events)
