"""Asking a second replica when the first is slow: Dean and Barroso, "The Tail at Scale", 2013."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

Answer = TypeVar("Answer")
Work = Coroutine[Any, Any, Answer]

_RECENT = 512
"""Answers that the time is taken from."""
_SLOW = 0.99
_LEAST = 100
"""Answers before one in a hundred means anything."""
_EVERY = 32
"""Answers between two looks at all the recent ones, so that one costs about a microsecond."""


class AnswerTimes:
    """How long the recent answers of a route took."""

    __slots__ = ("_count", "_recent", "slow")

    def __init__(self) -> None:
        self.slow = float("inf")
        """Seconds that 99 of 100 recent answers took at most; inf while there are too few."""
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._count = 0

    def record(self, seconds: float) -> None:
        """An answer took `seconds`."""
        self._recent.append(seconds)
        self._count += 1
        if self._count >= _LEAST and self._count % _EVERY == 0:
            self.slow = sorted(self._recent)[int(_SLOW * len(self._recent))]


async def hedged(first: Work[Answer], seconds: float, second: Callable[[], Work[Answer] | None]) -> tuple[Answer, bool]:
    """The answer that comes first, and whether it is that of `second`, which is asked after `seconds`, if it gives any.

    The other is cancelled. Where both fail, the first one's error is raised.
    """
    tasks = [asyncio.create_task(first)]
    try:
        await asyncio.wait(tasks, timeout=seconds)
        if not tasks[0].done() and (other := second()) is not None:
            tasks.append(asyncio.create_task(other))
        return await _first_answer(tasks)
    finally:
        for task in tasks:
            task.cancel()
            task.add_done_callback(_heard)


async def _first_answer(tasks: "Sequence[asyncio.Task[Answer]]") -> tuple[Answer, bool]:
    pending = set(tasks)
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is None:
                return task.result(), task is not tasks[0]
    return tasks[0].result(), False


def _heard(task: "asyncio.Task[Answer]") -> None:
    """Takes the error of the one that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
