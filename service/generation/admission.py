"""Who may run: the engine's places and the tokens of its cache, given out in the order in which answers are due."""

from bisect import insort
from collections.abc import Collection
from operator import attrgetter

from engines.text_generator import GeneratorLimits
from service.generating import DEFAULT_PRIORITY
from service.generation.ticket import Ticket
from service.types import AGING

_DEFAULT_CLASS = 2
"""Where a request stands that names no priority: after the urgent, before the flexible."""

_by_due = attrgetter("due")


def due_of(arrival: float, priority: int) -> float:
    """When a request that came then is due; 1 is the most urgent, 0 ranks as 2."""
    rank = _DEFAULT_CLASS if priority == DEFAULT_PRIORITY else priority
    return arrival + (rank - 1) * AGING


class Admission:
    """Tickets that wait and tickets that run, pure bookkeeping.

    A ticket runs once there is a place and room in the cache for all it may come to need, so that the engine never
    has to throw out what it has begun. None overtakes one that is due before it.
    """

    def __init__(self, limits: GeneratorLimits, max_waiting: int) -> None:
        self._limits = limits
        self._max_waiting = max_waiting
        self._waiting: list[Ticket] = []
        self._running: dict[Ticket, int] = {}
        self._tokens = 0

    @property
    def waiting(self) -> int:
        """Tickets that wait."""
        return len(self._waiting)

    @property
    def running(self) -> Collection[Ticket]:
        """Tickets that run."""
        return self._running.keys()

    def has_room(self, count: int) -> bool:
        """May `count` more wait, or run at once?"""
        free = self._limits.sequences - len(self._running)
        return len(self._waiting) + count <= self._max_waiting + free

    def could_hold(self, count: int) -> bool:
        """May `count` wait or run where nothing else does?"""
        return count <= self._max_waiting + self._limits.sequences

    def is_free(self, count: int) -> bool:
        """Would `count` more run at once, as far as places go?"""
        return not self._waiting and len(self._running) + count <= self._limits.sequences

    def wait(self, ticket: Ticket) -> None:
        """Takes a ticket into the queue."""
        insort(self._waiting, ticket, key=_by_due)

    def take(self) -> list[Ticket]:
        """The tickets that may run now; they count as running until they are released."""
        taken: list[Ticket] = []
        while self._waiting and self._fits(self._waiting[0]):
            ticket = self._waiting.pop(0)
            self._running[ticket] = self._blocks(ticket)
            self._tokens += self._running[ticket]
            taken.append(ticket)
        return taken

    def _fits(self, ticket: Ticket) -> bool:
        if ticket.suspect and any(other.suspect for other in self._running):
            return False
        room = self._tokens + self._blocks(ticket) <= self._limits.kv_tokens
        return len(self._running) < self._limits.sequences and (room or not self._running)

    def _blocks(self, ticket: Ticket) -> int:
        block = self._limits.kv_block
        return -(-ticket.reserved // block) * block

    def release(self, ticket: Ticket) -> bool:
        """Takes a ticket out, wherever it is; did it run?"""
        tokens = self._running.pop(ticket, None)
        if tokens is not None:
            self._tokens -= tokens
            return True
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        return False

    def all(self) -> list[Ticket]:
        """Those that run, then those that wait."""
        return [*self._running, *self._waiting]
