"""One request and its response, within a time, safe to be given up at any moment."""

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import httpx

from engines.openai_upstream_lanes import Lane, Lanes

T = TypeVar("T")

_GONE = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""How a connection fails that the server has closed."""
_REST = 1.0
"""Seconds that the end of a response may take after the end of its answer, for its connection to be used again."""


class Late(Exception):
    """The time was over."""


class Exchange:
    """Must be closed. Its steps run in tasks of their own, and so does closing: a caller that is cancelled, twice even,
    leaves nothing half closed."""

    def __init__(self, lanes: Lanes, seconds: float) -> None:
        self.seconds = seconds
        self._lanes = lanes
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + seconds
        self._lane: Lane | None = None
        self._task: asyncio.Task[Any] | None = None
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._at_end = False

    @property
    def left(self) -> float | None:
        """Seconds left, at least 0; None for ever."""
        return None if math.isinf(self._end) else max(0.0, self._end - self._loop.time())

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The head of the response; raises `Late` or `httpx.HTTPError`.

        A connection that was used before may be gone by now; then the request is made again, on a new one.
        """
        try:
            async with asyncio.timeout(self.left):
                lane = self._lane = await self._lanes.take()
        except TimeoutError:
            raise Late from None
        try:
            response = await self._step(lane.transport.handle_async_request(request))
        except _GONE:
            if not lane.used:
                raise
            fresh = self._lane = self._lanes.renew(lane)
            await self._step(lane.transport.aclose())
            response = await self._step(fresh.transport.handle_async_request(request))
        self._response, self._pieces = response, response.aiter_bytes()
        return response

    async def read(self) -> bytes | None:
        """The next piece of the response, None at its end; raises `Late` or `httpx.HTTPError`."""
        return await self._step(self._next())

    async def rest(self) -> None:
        """Waits for the end of a response in which nothing of interest follows, but not for long."""
        self._end = min(self._end, self._loop.time() + _REST)
        with suppress(Late, httpx.HTTPError):
            while await self.read() is not None:
                pass

    async def close(self) -> None:
        """Ends the request, by closing its connection where the response is not at its end. May be called twice."""
        if self._lane is not None:
            lane, self._lane = self._lane, None
            if self._task is not None:
                self._task.cancel()
            await asyncio.shield(asyncio.create_task(self._clean(lane)))

    async def _clean(self, lane: Lane) -> None:
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task})
        if self._at_end and self._response is not None:
            await self._response.aclose()
            await self._lanes.give(lane)
        else:
            await self._lanes.drop(lane)

    async def _next(self) -> bytes | None:
        piece = None if self._pieces is None else await anext(self._pieces, None)
        self._at_end = piece is None
        return piece

    async def _step(self, step: Coroutine[Any, Any, T]) -> T:
        task: asyncio.Task[T] = asyncio.create_task(step)
        self._task = task
        task.add_done_callback(_heard)
        await asyncio.wait({task}, timeout=self.left)
        if not task.done():
            raise Late
        return task.result()


def _heard(task: "asyncio.Task[Any]") -> None:
    """Takes the error of a step that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
