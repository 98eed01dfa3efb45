"""Composing a batch of sequences that each keep their row of it: Triton's direct strategy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from engines.slotted import Slotted
from service.batching.compose import MIXED, Composition
from service.batching.cost import CostModel, Shape
from service.batching.ticket import Ticket


@dataclass(frozen=True, slots=True)
class SlotComposer:
    """At most one request a slot, of equal shapes, by urgency. `max_rows`: requests in a batch at most.

    `blanks`: what an input holds in the rows of sequences that have no request, zero where it is not named. The shape
    of a batch counts its requests: what it costs is learned by these, and the rows in between are few, since the lowest
    slots are taken first.
    """

    max_rows: int
    blanks: Mapping[str, float] = field(default_factory=dict)

    def compose(self, waiting: Sequence[Ticket], cost: CostModel, now: float) -> Composition:
        wanted = _shapes(waiting[0])
        chosen: dict[int, Ticket] = {}
        for ticket in waiting:
            if len(chosen) < self.max_rows and ticket.waiting.slot not in chosen and _shapes(ticket) == wanted:
                chosen[ticket.waiting.slot] = ticket
        return self.arrange([chosen[slot] for slot in sorted(chosen)])

    def arrange(self, tickets: Sequence[Ticket]) -> Composition:
        rows = tuple(ticket.waiting.slot for ticket in tickets)
        return Composition(tickets, Slotted(rows, self.blanks), Shape(len(tickets)))

    @property
    def reach(self) -> int:
        return MIXED * self.max_rows

    def shapes(self) -> Sequence[Shape]:
        return (Shape(self.max_rows),)

    def alone(self, ticket: Ticket) -> Shape:
        return Shape(1)

    def of(self, cost: int) -> Shape:
        return Shape(min(cost, self.max_rows))

    def limited(self, share: float) -> "SlotComposer":
        return replace(self, max_rows=max(1, int(self.max_rows * share)))


def _shapes(ticket: Ticket) -> Mapping[str, tuple[int, ...]]:
    return {name: array.shape[1:] for name, array in ticket.tensors.items()}
