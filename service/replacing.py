"""What is done to a model while it serves: one thing at a time, and what it replaces is answered to its end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from weakref import WeakValueDictionary

from service.routing.served import Served

LOGGER = logging.getLogger("batchyard.runtime")

_HANDOVER = 0.5
"""Seconds in which requests that were given the old one, and are still being tokenised, reach it."""
_DRAIN = 600.0
"""Seconds that the old one has for what it holds, the default deadline of generated text. It has its memory so long."""


class Replacing:
    """Used on the event loop. Of a model to which nothing is done it remembers nothing."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._draining: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def alone(self, model: str) -> AsyncIterator[None]:
        """Waits for whoever changes this model, and for the end of what they replaced: so it is twice in memory at
        most."""
        async with self._locks.setdefault(model, asyncio.Lock()):
            draining = self._draining.get(model)
            if draining is not None:
                await asyncio.wait({draining})
            yield

    def retire(self, model: str, old: Iterable[Served], closed: Callable[[], None]) -> None:
        """Has what nobody is given any more answer what it holds, then close. Call it within `alone`.

        `closed`: called in the end, in every case; may block for as long as removing some files takes.
        """
        task = self._draining[model] = asyncio.create_task(_drain(model, list(old), closed))
        task.add_done_callback(partial(self._drained, model))

    def _drained(self, model: str, task: asyncio.Task[None]) -> None:
        if self._draining[model] is task:
            del self._draining[model]

    async def finish(self, grace: float) -> None:
        """Gives what still drains `grace` seconds."""
        if self._draining:
            _, late = await asyncio.wait(self._draining.values(), timeout=grace)
            for task in late:
                task.cancel()


async def _drain(model: str, old: list[Served], closed: Callable[[], None]) -> None:
    try:
        if old:
            await asyncio.sleep(_HANDOVER)
        ends = await asyncio.gather(*(served.replica.close(_DRAIN) for served in old), return_exceptions=True)
        for error in ends:
            if isinstance(error, Exception):
                LOGGER.error("closing what was loaded of %s failed", model, exc_info=error)
    finally:
        closed()
