"""The calls that run, and their end when the server stops."""

from asyncio import CancelledError, Task, current_task, get_running_loop, sleep, wait
from collections.abc import Awaitable
from typing import Any

from grpc import aio

from service.errors import ModelUnavailableError

_QUIET, _LOOKS = 0.3, 6
"""Seconds without a new call after which none is on its way, and how often that is looked at. gRPC itself would tell
those that come later that they were cancelled."""


class InHand:
    """`tasks`: one a call. `closing`: nothing new is taken, `refused`: calls since. `over`: the time is up for all."""

    def __init__(self) -> None:
        self.tasks: set[Task[Any]] = set()
        self.closing = False
        self.refused = 0
        self.over = False
        self._idle: set[Task[Any]] = set()

    def check_open(self) -> None:
        """Raises `ModelUnavailableError` where nothing new is taken."""
        if self.closing:
            self.refused += 1
            raise ModelUnavailableError("the server is stopping and takes no more requests; ask another one").as_triton(
                "GRPC server is shutting down and has stopped accepting new requests."
            )

    async def read(self, context: "aio.ServicerContext[Any, Any]") -> Any:
        """What the caller of a stream sends next, `aio.EOF` at its end, None where nothing more is taken."""
        return None if self.closing else await self.idle(context.read())

    async def idle(self, coming: Awaitable[Any]) -> Any:
        """Awaits something that a call in hand does not need; None where nothing more is taken."""
        task = this_task()
        self._idle.add(task)
        try:
            return await coming
        except CancelledError:
            if not self.closing or self.over or task.uncancel():
                raise
            return None
        finally:
            self._idle.discard(task)

    def close(self) -> None:
        """Takes nothing new: no calls, and no requests of the streams that are open."""
        self.closing = True
        for task in tuple(self._idle):
            task.cancel()

    async def finish(self, seconds: float) -> None:
        """Waits until nothing is in hand; after `seconds` what still runs is told that its time is over."""
        now = get_running_loop().time
        end = now() + seconds
        while self.tasks and now() < end:
            await wait(tuple(self.tasks), timeout=end - now())
        self.over = True
        for task in tuple(self.tasks):
            task.cancel()

    async def refuse(self) -> None:
        """Waits until no caller comes any more that does not know yet; not for long."""
        for _ in range(_LOOKS):
            seen = self.refused
            await sleep(_QUIET)
            if self.refused == seen:
                return


def this_task() -> Task[Any]:
    """The task that runs the call."""
    task = current_task()
    if task is None:
        raise RuntimeError("a call runs outside of a task")
    return task
