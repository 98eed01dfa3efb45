"""Tickets of low urgency: they run where nothing else waits, in small batches, and are urgent once they are old."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service.batching.compose import Composer, Composition
from service.batching.cost import CostModel
from service.batching.fair_queue import FairQueue
from service.batching.levels import PATIENCE
from service.batching.ticket import Ticket

AGE = 5.0
"""Seconds after which a ticket counts as urgent: as long as a priority level takes to age."""
SMALL = 0.02
"""Seconds that a batch of them may take if it can be cut so small: an urgent ticket that just missed an instance waits
no longer than that."""
_SMALLEST = 1 / 64
"""The least share of a full batch: below it nothing is left to cut."""


@dataclass(slots=True)
class Bulk:
    """Those that wait, by the time from which they are urgent, and the instances that run some."""

    waiting: FairQueue = field(default_factory=FairQueue)
    running: set[int] = field(default_factory=set)

    def add(self, ticket: Ticket, p95: float) -> None:
        """It is urgent once it is old, or when it has no more time left than its request is predicted to take."""
        ticket.due = min(ticket.arrival + AGE, ticket.deadline - p95)
        self.waiting.add(ticket)

    def ripe(self, now: float) -> list[Ticket]:
        """Takes out those that are urgent now: all whose deadline wants it, and one that is only old.

        One a tenant and batch: all windows of a long text are old at once, and would else be one long batch before all
        others.
        """
        ripe: list[Ticket] = []
        if not self.waiting.flows:
            return ripe
        for flow in self.waiting.flows.values():
            mine = _ripe(flow.tickets, now)
            flow.remove(mine)
            ripe += mine
        self.waiting.tidy()
        for ticket in ripe:
            ticket.due = min(ticket.deadline, now + PATIENCE)
        return ripe

    def next(self) -> float | None:
        """When the first of them becomes urgent; None where none waits."""
        return min([flow.tickets[0].due for flow in self.waiting.flows.values()], default=None)

    @staticmethod
    def most(instances: int) -> int:
        """Instances that may run them at once: one is left to what is urgent, where there are several."""
        return max(1, instances - 1)

    def compose(self, composer: Composer, cost: CostModel, now: float) -> Composition:
        """A small batch of them."""
        share = 1.0
        small = composer
        while share > _SMALLEST and cost.best(small.shapes())[1] > SMALL:
            share /= 2
            small = composer.limited(share)
        return small.compose(self.waiting.in_turn(small.reach), cost, now)


def _ripe(tickets: Sequence[Ticket], now: float) -> list[Ticket]:
    ripe: list[Ticket] = []
    old = 0
    for ticket in tickets:
        if ticket.due > now:
            break
        old += ticket.due >= ticket.arrival + AGE
        if old <= 1 or ticket.due < ticket.arrival + AGE:
            ripe.append(ticket)
    return ripe
