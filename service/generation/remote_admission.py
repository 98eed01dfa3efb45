"""Who may ask another server now: so many answers at once, others in the order in which they are due."""

import asyncio
from bisect import insort
from dataclasses import dataclass, field

from service.errors import BatchyardError


@dataclass(slots=True, order=True)
class _Waiting:
    due: float
    number: int
    answers: int = field(compare=False)
    turn: "asyncio.Future[None]" = field(compare=False)


class RemoteAdmission:
    """Counts the answers of requests that run and wait. Used on the event loop.

    A request with more answers than may run at once runs alone; none overtakes one that is due before it.
    """

    def __init__(self, most_running: int, most_waiting: int) -> None:
        self._most_running = most_running
        self._most_waiting = most_waiting
        self._running = 0
        self._number = 0
        self._queue: list[_Waiting] = []
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waiting(self) -> int:
        """Answers that wait."""
        return sum(one.answers for one in self._queue)

    @property
    def held(self) -> int:
        """Answers that run or wait."""
        return self._running + self.waiting

    def is_free(self, answers: int) -> bool:
        """Would so many more run at once?"""
        return not self._queue and (not self._running or self._running + answers <= self._most_running)

    def has_room(self, answers: int) -> bool:
        """May so many more wait, or run at once?"""
        return self.is_free(answers) or self.held + answers <= self._most_running + self._most_waiting

    def could_hold(self, answers: int) -> bool:
        """May so many wait or run where nothing else does?"""
        return answers <= self._most_running + self._most_waiting

    async def enter(self, answers: int, due: float) -> None:
        """Waits for a place; each must be left again. Raises what `fail` was given; cancelling it leaves the queue."""
        self._empty.clear()
        if self.is_free(answers):
            self._running += answers
            return
        self._number += 1
        waiting = _Waiting(due, self._number, answers, asyncio.get_running_loop().create_future())
        insort(self._queue, waiting)
        try:
            await waiting.turn
        except BaseException:
            if waiting in self._queue:
                self._queue.remove(waiting)
                self._next()
            elif waiting.turn.done() and not waiting.turn.cancelled() and waiting.turn.exception() is None:
                self.leave(answers)
            raise

    def leave(self, answers: int) -> None:
        """Gives the place back."""
        self._running -= answers
        self._next()

    def fail(self, error: BatchyardError) -> None:
        """Fails all that wait."""
        queue, self._queue = self._queue, []
        for waiting in queue:
            if not waiting.turn.done():
                waiting.turn.set_exception(error)
        self._next()

    async def empty(self) -> None:
        """Waits until nothing runs or waits."""
        await self._empty.wait()

    def _next(self) -> None:
        while self._queue and (not self._running or self._running + self._queue[0].answers <= self._most_running):
            waiting = self._queue.pop(0)
            if not waiting.turn.done():
                self._running += waiting.answers
                waiting.turn.set_result(None)
        if not self._queue and not self._running:
            self._empty.set()
