"""Who may run: the engine's places and the tokens of its cache, given out in the order in which answers are due."""

from collections.abc import Collection

from engines.text_generator import GeneratorLimits
from service.generating import DEFAULT_PRIORITY
from service.generation.line import Line
from service.generation.ticket import Ticket
from service.types import AGING, ANYONE, Tenant

_DEFAULT_CLASS = 2
"""Where a request stands that names no priority: after the urgent, before the flexible."""


def due_of(arrival: float, priority: int) -> float:
    """When a request that came then is due; 1 is the most urgent, 0 ranks as 2."""
    rank = _DEFAULT_CLASS if priority == DEFAULT_PRIORITY else priority
    return arrival + (rank - 1) * AGING


class Admission:
    """Tickets that wait and tickets that run, pure bookkeeping.

    A ticket runs once there is a place and room in the cache for all it may come to need, so that the engine never
    has to throw out what it has begun. None overtakes one of its tenant that is due before it; tenants get fair shares
    of tokens.
    """

    def __init__(self, limits: GeneratorLimits, max_waiting: int) -> None:
        self._limits = limits
        self._max_waiting = max_waiting
        self._line: Line[Ticket] = Line()
        self._running: dict[Ticket, int] = {}
        self._tokens = 0

    @property
    def waiting(self) -> int:
        """Tickets that wait."""
        return len(self._line.all)

    @property
    def running(self) -> Collection[Ticket]:
        """Tickets that run."""
        return self._running.keys()

    def has_room(self, count: int, tenant: Tenant = ANYONE) -> bool:
        """May `count` more of a tenant wait, or run at once?"""
        places = self._limits.sequences - len(self._running)
        free = self._max_waiting + places - self.waiting
        held = sum(one.tenant.name == tenant.name for one in self._line.all)
        return self._line.may_hold(tenant, held, count, free) and count <= free

    def could_hold(self, count: int) -> bool:
        """May `count` wait or run where nothing else does?"""
        return count <= self._max_waiting + self._limits.sequences

    def is_free(self, count: int) -> bool:
        """Would `count` more run at once, as far as places go?"""
        return not self._line.all and len(self._running) + count <= self._limits.sequences

    def wait(self, ticket: Ticket) -> None:
        """Takes a ticket into the queue."""
        self._line.add(ticket)

    def ahead(self, tenant: Tenant) -> int:
        """Tickets that have their turn before a newcomer of this tenant."""
        return len(self._line.ahead(tenant))

    def take(self) -> list[Ticket]:
        """The tickets that may run now; they count as running until they are released."""
        taken: list[Ticket] = []
        while self._line.all and self._fits(ticket := self._line.next()):
            self._line.take(ticket)
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
        if ticket in self._line.all:
            self._line.remove(ticket)
        return False

    def all(self) -> list[Ticket]:
        """Those that run, then those that wait."""
        return [*self._running, *self._line.all]
