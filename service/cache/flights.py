"""Equal questions at one time are answered once: single flight."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from copy import copy
from typing import Any, Generic, TypeVar

from service.errors import (
    BatchyardError,
    CallerGoneError,
    DeadlineExceededError,
    DeadlineHopelessError,
    QuotaExceededError,
)
from service.timers import deadline_timer

Answer = TypeVar("Answer")
Work = Callable[[], Coroutine[Any, Any, Answer]]

_LATE = (DeadlineExceededError, DeadlineHopelessError)
_ITS_OWN = (*_LATE, CallerGoneError, QuotaExceededError, asyncio.CancelledError)
"""Errors that say something of whose work it was, and nothing of the question."""


class _Passenger(Generic[Answer]):
    """One who waits. `led`: it was its work that was done last, or it takes the place of the one whose it was."""

    __slots__ = ("deadline", "led", "seat", "work")

    def __init__(self, work: Work[Answer], deadline: float, seat: asyncio.Future[Answer]) -> None:
        self.work = work
        self.deadline = deadline
        self.seat = seat
        self.led = False

    def fail(self, error: BaseException) -> None:
        """Each gets an error of its own: whoever raises it adds to it."""
        if self.seat.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self.seat.cancel()
        else:
            self.seat.set_exception(copy(error) if isinstance(error, BatchyardError) else error)

    def too_late(self) -> None:
        if not self.led:
            text = "the deadline passed while an equal request was on its way; allow more time"
            self.fail(DeadlineExceededError(text))


class _Flight(Generic[Answer]):
    """The work of one passenger, in a task of its own, and all who wait for it.

    `open`: the flights that may be joined, of which it is the one of `key`.
    """

    def __init__(self, open_: "dict[Hashable, _Flight[Answer]]", key: Hashable) -> None:
        self._open = open_
        self._key = key
        self._waiting: dict[_Passenger[Answer], None] = {}
        self._leader: _Passenger[Answer] | None = None
        self._task: asyncio.Task[Answer] | None = None
        open_[key] = self

    def board(self, passenger: _Passenger[Answer]) -> None:
        self._waiting[passenger] = None
        if self._task is None:
            self._lead(passenger)

    def leave(self, passenger: _Passenger[Answer]) -> None:
        """It waits no more. With the last one the work ends."""
        if passenger in self._waiting:
            del self._waiting[passenger]
            if not self._waiting and self._task is not None:
                self._close()
                self._task.cancel()

    def _lead(self, passenger: _Passenger[Answer]) -> None:
        passenger.led = True
        self._leader = passenger
        self._task = asyncio.create_task(passenger.work())
        self._task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[Answer]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if not self._waiting:
            return
        if isinstance(error, _ITS_OWN) and self._hand_over(error):
            return
        self._close()
        waiting = [passenger for passenger in self._waiting if not passenger.seat.done()]
        if waiting and self._leader not in self._waiting:
            waiting[0].led = True
        self._waiting = {}
        for passenger in waiting:
            if error is not None:
                passenger.fail(error)
            else:
                passenger.seat.set_result(task.result())

    def _hand_over(self, error: BaseException) -> bool:
        """The one with the most time leads, and who led is told of its error; False where nobody would fare better."""
        leader = self._leader
        others = [one for one in self._waiting if one is not leader and not one.seat.done()]
        best = max(others, key=lambda passenger: passenger.deadline, default=None)
        if best is None or leader is None or (isinstance(error, _LATE) and best.deadline <= leader.deadline):
            return False
        if leader in self._waiting:
            del self._waiting[leader]
            leader.fail(error)
        self._lead(best)
        return True

    def _close(self) -> None:
        if self._open.get(self._key) is self:
            del self._open[self._key]


class Flights(Generic[Answer]):
    """Used on the event loop only. `clock`: that of the deadlines, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[Hashable, _Flight[Answer]] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def answer(self, key: Hashable, work: Work[Answer], deadline: float) -> tuple[Answer, bool]:
        """The answer of `work`, or of an equal one that is under way; and whether it was this one's. Where that one
        left, it is the one's who came next.

        Cancelling this, or its deadline, cancels nobody else's. Where the work that is under way ends for a reason of
        its own caller, another one's goes on. Raises what the work raises, and `DeadlineExceededError`.
        """
        loop = asyncio.get_running_loop()
        passenger = _Passenger(work, deadline, loop.create_future())
        flight = self._open.get(key) or _Flight(self._open, key)
        flight.board(passenger)
        timer = None if passenger.led else deadline_timer(loop, deadline - self._clock(), passenger.too_late)
        try:
            return await passenger.seat, passenger.led
        finally:
            if timer is not None:
                timer.cancel()
            flight.leave(passenger)
            del flight, passenger  # an error would refer to itself by them
