"""The tickets that wait for a batch, in the order they are due."""

from bisect import bisect_right, insort
from collections.abc import Collection
from dataclasses import dataclass, field
from operator import attrgetter

from service.batching.ticket import Ticket

_by_due = attrgetter("due")


@dataclass(slots=True)
class Waitlist:
    """Tickets by due time. `cost`: of all of them."""

    tickets: list[Ticket] = field(default_factory=list)
    cost: int = 0

    def __len__(self) -> int:
        return len(self.tickets)

    def add(self, ticket: Ticket) -> None:
        """Puts it where it is due, behind those that are due at the same time."""
        if not self.tickets or ticket.due >= self.tickets[-1].due:
            self.tickets.append(ticket)
        else:
            insort(self.tickets, ticket, key=_by_due)
        self.cost += ticket.cost

    def cost_before(self, due: float) -> int:
        """Of those that are taken before a newcomer due then; most newcomers are due last, so the end is looked at."""
        tickets = self.tickets
        if not tickets or due >= tickets[-1].due:
            return self.cost
        place = bisect_right(tickets, due, key=_by_due)
        if place > len(tickets) // 2:
            return self.cost - sum([ticket.cost for ticket in tickets[place:]])
        return sum([ticket.cost for ticket in tickets[:place]])

    def remove(self, tickets: Collection[Ticket]) -> None:
        """Takes these out."""
        if tickets:
            out = set(map(id, tickets))
            self._keep([ticket for ticket in self.tickets if id(ticket) not in out])

    def sift(self, now: float, share: float = 0.0, seconds: float = 0.0) -> list[Ticket]:
        """Drops those that are gone; takes out and returns those that are given up, or cannot make their deadline.

        A ticket needs the time of its own batch, or by `share` that of one of `seconds`.
        """
        kept: list[Ticket] = []
        given_up: list[Ticket] = []
        for ticket in self.tickets:
            if ticket.waiting.future.done():
                continue
            needs = ticket.alone
            if needs < seconds:
                needs += share * (seconds - needs)
            late = ticket.expires <= now or ticket.deadline < now + needs
            (given_up if late else kept).append(ticket)
        if len(kept) < len(self.tickets):
            self._keep(kept)
        return given_up

    def drop_gone(self) -> None:
        """Drops those that nobody waits for."""
        self._keep([ticket for ticket in self.tickets if not ticket.gone])

    def sort(self) -> None:
        """After due times were changed."""
        self.tickets.sort(key=_by_due)

    def clear(self) -> list[Ticket]:
        """Empties it; returns what waited."""
        tickets = self.tickets
        self._keep([])
        return tickets

    def _keep(self, tickets: list[Ticket]) -> None:
        self.tickets = tickets
        self.cost = sum([ticket.cost for ticket in tickets])
