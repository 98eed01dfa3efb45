"""Calls that engines have looked at and not answered to their end; whatever thread answers, each is settled once."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition
from typing import NamedTuple

from engines.errors import EngineLostError
from service.batching.losses import guilt, is_guilty, suspect
from service.batching.ticket import Ticket
from service.batching.worker import Result
from service.errors import EngineFailedError

_PAUSE = 0.1
"""Seconds between two looks whether anybody still waits for an open call: nothing tells when a caller leaves."""


class BatchSize(NamedTuple):
    """What a batch held, as in `Timing`."""

    requests: int
    tokens: int
    slots: int


@dataclass(slots=True, eq=False)
class OpenCall:
    """One try to have a ticket answered, from `start` on the gateway's clock, by `engine`.

    `batch`: the one it was in; `input`: seconds that laying it out took. `billed`: until when its time is paid by an
    answer. `running`: the engine's `execute` holds it. `answers`: what it was given so far. `over`: no more is taken.
    `lost`: the engine's end, heard of while `execute` held it.
    """

    ticket: Ticket
    engine: object
    start: float
    batch: BatchSize
    input: float = 0.0
    billed: float = 0.0
    running: bool = True
    answers: int = 0
    over: bool = False
    lost: EngineLostError | None = None

    def bill(self, now: float) -> float:
        """Its share, by cost, of the seconds since its last answer or since it began."""
        seconds, self.billed = now - (self.billed or self.start), now
        return seconds * self.ticket.cost / (self.batch.tokens or 1)

    @property
    def several(self) -> bool:
        """May it have any number of answers, or has it exactly one?"""
        return self.ticket.waiting.each is not None


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where it goes what becomes of open calls; called on any thread, never blocks.

    `settle`: the ticket's caller gets this. `again`: its engine was lost before it was answered, it waits again.
    `condemn`: it is at fault; its caller gets the error, and the row is refused from now on.
    """

    settle: Callable[[Ticket, Result], None]
    again: Callable[[Ticket], None]
    condemn: Callable[[Ticket, EngineFailedError], None]


class OpenCalls:
    """Those of one model. Used on all threads."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._open: set[OpenCall] = set()
        self._changed = Condition()
        self._given_up = False

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, ticket: Ticket, engine: object, now: float, batch: BatchSize) -> OpenCall:
        """An engine is about to look at a ticket."""
        call = OpenCall(ticket, engine, now, batch)
        with self._changed:
            self._open.add(call)
        return call

    def of(self, engine: object) -> int:
        """Calls that this engine has open."""
        with self._changed:
            return sum(call.engine is engine for call in self._open)

    def left(self, call: OpenCall) -> None:
        """`execute` is done with it, and left it open: what answers it comes later."""
        with self._changed:
            call.running = False
        if call.lost is not None:
            self.lost(call.engine, call.lost)

    def end(self, call: OpenCall) -> bool:
        """Takes no more for it; False where it was over already."""
        with self._changed:
            return self._end(call)

    def _end(self, call: OpenCall) -> bool:
        if call.over:
            return False
        call.over = True
        self._open.discard(call)
        self._changed.notify_all()
        return True

    def answer(self, call: OpenCall, result: Result, *, final: bool) -> None:
        """What `respond` gave. Under the lock, so that answers keep their order whatever threads they come from."""
        with self._changed:
            if call.over:
                return
            call.answers += 1
            if final:
                self._end(call)
            if not call.ticket.gone:
                self._outlet.settle(call.ticket, result)

    def lost(self, engine: object, error: EngineLostError) -> None:
        """An engine was lost: ends what it left open. What has an answer already is never tried again.

        Its last words may come when another has taken its place, so they count for its own calls only.
        """
        with self._changed:
            mine = [call for call in self._open if call.engine is engine]
            for call in mine:
                call.lost = error
            ended = [call for call in mine if not call.running and self._end(call)]
        for call in ended:
            if not call.ticket.gone:
                self._end_lost(call, error, alone=len(mine) == 1)

    def _end_lost(self, call: OpenCall, error: EngineLostError, *, alone: bool) -> None:
        ticket = call.ticket
        if call.answers:
            self._outlet.settle(ticket, lost_amid(error))
            return
        suspect([ticket], alone=alone)
        if is_guilty(ticket):
            self._outlet.condemn(ticket, guilt(error))
        else:
            self._outlet.again(ticket)

    def wait(self, engine: object) -> None:
        """Blocks until nobody waits for a call that this engine has open, or until they are given up."""
        with self._changed:
            while not self._given_up and any(c.engine is engine and not c.ticket.gone for c in self._open):
                self._changed.wait(_PAUSE)

    def give_up(self) -> list[Ticket]:
        """Takes no more for any; returns their tickets."""
        with self._changed:
            self._given_up = True
            calls = list(self._open)
            for call in calls:
                self._end(call)
        return [call.ticket for call in calls]


def lost_amid(error: EngineLostError) -> EngineFailedError:
    """What a caller is told who has some of the answers."""
    return EngineFailedError(f"the engine was lost before the last answer was there: {error}", retryable=False)
