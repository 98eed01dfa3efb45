"""Who may ask another server now: so many answers at once, others in the order in which they are due."""

import asyncio
from dataclasses import dataclass

from service.errors import BatchyardError
from service.generation.line import Line
from service.types import ANYONE, Tenant


@dataclass(slots=True, eq=False)
class _Waiting:
    due: float
    tenant: Tenant
    answers: int
    turn: "asyncio.Future[None]"

    @property
    def reserved(self) -> int:
        return self.answers


class RemoteAdmission:
    """Counts the answers of requests that run and wait. Used on the event loop.

    A request with more answers than may run at once runs alone; none overtakes one of its tenant that is due before it;
    tenants get fair shares of answers.
    """

    def __init__(self, most_running: int, most_waiting: int) -> None:
        self._most_running = most_running
        self._most_waiting = most_waiting
        self._running = 0
        self._line: Line[_Waiting] = Line()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waiting(self) -> int:
        """Answers that wait."""
        return sum(one.answers for one in self._line.all)

    @property
    def held(self) -> int:
        """Answers that run or wait."""
        return self._running + self.waiting

    def is_free(self, answers: int) -> bool:
        """Would so many more run at once?"""
        return not self._line.all and (not self._running or self._running + answers <= self._most_running)

    def has_room(self, answers: int, tenant: Tenant = ANYONE) -> bool:
        """May so many more of a tenant wait, or run at once?"""
        free = self._most_running + self._most_waiting - self.held
        mine = sum(one.answers for one in self._line.all if one.tenant.name == tenant.name)
        return self.is_free(answers) or (self._line.may_hold(tenant, mine, answers, free) and answers <= free)

    def ahead(self, tenant: Tenant) -> int:
        """Answers that have their turn before a newcomer of this tenant."""
        return sum(one.answers for one in self._line.ahead(tenant))

    def could_hold(self, answers: int) -> bool:
        """May so many wait or run where nothing else does?"""
        return answers <= self._most_running + self._most_waiting

    async def enter(self, answers: int, due: float, tenant: Tenant = ANYONE) -> None:
        """Waits for a place; each must be left again. Raises what `fail` was given; cancelling it leaves the queue."""
        self._empty.clear()
        if self.is_free(answers):
            self._running += answers
            return
        waiting = _Waiting(due, tenant, answers, asyncio.get_running_loop().create_future())
        self._line.add(waiting)
        try:
            await waiting.turn
        except BaseException:
            if waiting in self._line.all:
                self._line.remove(waiting)
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
        for waiting in self._line.clear():
            if not waiting.turn.done():
                waiting.turn.set_exception(error)
        self._next()

    async def empty(self) -> None:
        """Waits until nothing runs or waits."""
        await self._empty.wait()

    def _next(self) -> None:
        while self._line.all and self._fits(waiting := self._line.next()):
            self._line.take(waiting)
            if not waiting.turn.done():
                self._running += waiting.answers
                waiting.turn.set_result(None)
        if not self._line.all and not self._running:
            self._empty.set()

    def _fits(self, waiting: _Waiting) -> bool:
        return not self._running or self._running + waiting.answers <= self._most_running
