"""Stops the work of callers that leave."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

from service.errors import CallerGoneError

Answer = TypeVar("Answer")


class _Watch:
    """Cancels the current task when the caller leaves; starts to look after `delay` seconds only."""

    __slots__ = ("_handle", "_receive", "_task", "_watcher", "gone")

    def __init__(self, receive: Receive, delay: float) -> None:
        loop = asyncio.get_running_loop()
        self.gone = False
        self._receive = receive
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._handle = loop.call_later(delay, self._start)

    def _start(self) -> None:
        self._watcher = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._task is not None:
            self._task.cancel()

    def stop(self) -> None:
        """Leaves nothing that refers to itself: of thousands a second the garbage collector would stop the world."""
        self._handle.cancel()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()


async def while_connected(work: Awaitable[Answer], receive: Receive, delay: float) -> Answer:
    """Awaits `work`; cancels it and raises `CallerGoneError` when the caller leaves. The body must have been read.

    Watching costs a task, so it starts `delay` seconds after the work.
    """
    watch = _Watch(receive, delay)
    try:
        return await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not watch.gone or task is None or task.uncancel() > 0:
            raise
        raise CallerGoneError("the caller left before the answer") from None
    finally:
        watch.stop()
