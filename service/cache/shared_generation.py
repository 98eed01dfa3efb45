"""One generation that several callers read, each from its own place in it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import Protocol

from engines.generation import Event, Usage
from service.errors import BatchyardError, EngineFailedError, ModelUnavailableError
from service.generating import Generation
from service.types import DIRECT, Routed

Begin = Callable[[], Awaitable[tuple[Generation, Routed]]]
"""Has the text generated; raises `BatchyardError`."""


class Listener(Protocol):
    """One who reads."""

    def came(self, events: int) -> None:
        """There are so many events now."""


class SharedGeneration:
    """Reads a generation to its end and keeps all events, as long as anybody listens. Used on the event loop.

    The work is a task of its own: whoever leaves, the others go on, and the last one that leaves ends it. `ended` is
    told once, as soon as nobody may join any more: `complete` says whether all is there, `error` what went wrong.
    `deadline`: until when it was asked for.
    """

    def __init__(self, begin: Begin, deadline: float, ended: Callable[["SharedGeneration"], None]) -> None:
        self.events: list[Event] = []
        self.routed: Routed = DIRECT
        self.complete = False
        self.error: Exception | None = None
        self.deadline = deadline
        self.news = asyncio.Event()
        self._generation: Generation | None = None
        self._tell_ended: Callable[[SharedGeneration], None] | None = ended
        self._listeners: dict[Listener, None] = {}
        self._charged = 0.0
        self._task = asyncio.get_running_loop().create_task(self._run(begin))

    @property
    def generation(self) -> Generation:
        """What is read; there is one once it has begun."""
        if self._generation is None:
            raise EngineFailedError("the answer has not begun")
        return self._generation

    @property
    def begun(self) -> bool:
        """Does anything answer by now?"""
        return self._generation is not None

    def join(self, listener: Listener) -> None:
        """One more listens."""
        self._listeners[listener] = None

    def leave(self, listener: Listener) -> None:
        """One no longer listens. Where it was the last, the work ends."""
        if listener not in self._listeners:
            return
        del self._listeners[listener]
        if not self._listeners:
            if self._generation is not None:
                self._generation.close()
            self._task.cancel()
            self._end()

    def share_of(self, listener: Listener) -> float:
        """Engine-seconds that this listener is charged: all that nobody was charged yet, where it came first of those
        who listen."""
        if self._generation is None or next(iter(self._listeners), None) is not listener:
            return 0.0
        return max(0.0, self._generation.timing.engine_seconds - self._charged)

    def charge(self, seconds: float) -> None:
        """So many engine-seconds are on somebody's bill."""
        self._charged += seconds

    async def _run(self, begin: Begin) -> None:
        try:
            self._generation, self.routed = await begin()
            self._wake()
            while not self.complete:
                self._add(await self._generation.read())
        except Exception as error:  # whoever reads is told, as if it had read the generation itself
            self.error = copy(error) if isinstance(error, BatchyardError) else error
        except asyncio.CancelledError:
            self.error = ModelUnavailableError("the answer was given up before it was complete; ask again")
            raise
        finally:
            if self._generation is not None:
                self._generation.close()
            self._end()

    def _add(self, events: Sequence[Event]) -> None:
        if not events:
            raise EngineFailedError(f"model {self.generation.model!r} ended an answer without saying so")
        self.events += events
        self.complete = isinstance(events[-1], Usage)
        for listener in list(self._listeners):
            listener.came(len(self.events))
        self._wake()

    def _wake(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()

    def _end(self) -> None:
        tell, self._tell_ended = self._tell_ended, None
        if tell is not None:
            tell(self)
        self._wake()
