"""The answers of an ensemble with decoupled steps, as they come."""

import asyncio
from collections.abc import Awaitable, Callable

from service.types import InferResponse

_WAITING = 16
"""Answers that wait for their reader; the steps behind them wait, too."""

Put = Callable[[InferResponse], Awaitable[None]]


class EnsembleResponses:
    """Implements `service.types.Responses`: `produce`, in a task of its own, puts the answers, the last one final."""

    def __init__(self, produce: Callable[[Put], Awaitable[None]]) -> None:
        self._queue: asyncio.Queue[InferResponse | Exception] = asyncio.Queue(_WAITING)
        self._ended = False
        self._task = asyncio.create_task(self._run(produce))

    async def _run(self, produce: Callable[[Put], Awaitable[None]]) -> None:
        try:
            await produce(self._queue.put)
        except Exception as error:  # of any kind: whoever reads is to hear of it
            await self._queue.put(error)

    async def read(self) -> InferResponse | None:
        """See `Responses`."""
        if self._ended:
            return None
        found = await self._queue.get()
        self._ended = isinstance(found, Exception) or found.final
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """See `Responses`."""
        self._ended = True
        self._task.cancel()
