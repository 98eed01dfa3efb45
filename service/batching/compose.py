"""Composing one batch from the waiting tickets: pure functions of tickets, limits, costs and the time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from engines.batch import Layout, Ragged, Single, Stacked
from engines.model_config import BatchInput, BatchOutput
from service.batching.cost import CostModel, Shape
from service.batching.ticket import Ticket

MIXED = 4
"""Times the rows of a full batch that are looked through for tickets that go together."""


@dataclass(frozen=True, slots=True)
class Composition:
    """A batch decided: its tickets, in the order of the layout, and what it costs by."""

    tickets: Sequence[Ticket]
    layout: Layout
    shape: Shape

    @property
    def tokens(self) -> int:
        """Cost without padding."""
        return sum(ticket.cost for ticket in self.tickets)


class Composer(Protocol):
    """Chooses what runs next. `waiting` is never empty and is ordered by urgency; its first ticket is always taken."""

    def compose(self, waiting: Sequence[Ticket], cost: CostModel, now: float) -> Composition: ...

    def arrange(self, tickets: Sequence[Ticket]) -> Composition:
        """Lays out exactly these tickets, a part of an earlier batch."""

    @property
    def reach(self) -> int:
        """Tickets that it needs to see, at most, to make a full batch."""

    def shapes(self) -> Sequence[Shape]:
        """Shapes of full batches, for predicting the rate."""

    def alone(self, ticket: Ticket) -> Shape:
        """The shape of a batch that holds only this ticket."""

    def of(self, cost: int) -> Shape:
        """About the shape of a batch that holds only a ticket of this cost, at most a full one."""

    def limited(self, share: float) -> "Composer":
        """One whose batches are at most this share of its own, and at least one ticket."""


@dataclass(frozen=True, slots=True)
class SingleComposer:
    """One request a batch: models without a batch dimension (`max_rows` 0), or without dynamic batching.

    `ragged`: lays a batch out where that takes more than stacking.
    """

    max_rows: int = 0
    ragged: "StackComposer | None" = None

    def compose(self, waiting: Sequence[Ticket], cost: CostModel, now: float) -> Composition:
        return self.arrange(waiting[:1])

    def arrange(self, tickets: Sequence[Ticket]) -> Composition:
        if self.ragged is not None:
            return self.ragged.arrange(tickets)
        (ticket,) = tickets
        layout = Stacked((ticket.rows,)) if self.max_rows else Single(ticket.rows)
        return Composition(tickets, layout, self.alone(ticket))

    @property
    def reach(self) -> int:
        return 1

    def shapes(self) -> Sequence[Shape]:
        return (Shape(1),)

    def alone(self, ticket: Ticket) -> Shape:
        return Shape(ticket.rows)

    def of(self, cost: int) -> Shape:
        return Shape(cost)

    def limited(self, share: float) -> "SingleComposer":
        return self


@dataclass(frozen=True, slots=True)
class StackComposer:
    """Requests of equal shapes, by urgency, up to `max_rows`; cut to the largest preferred size that is reached.

    A batch is as small as the most urgent one needs to make its deadline.
    `ragged` inputs may differ in shape; `batch_inputs` tell the engine where each ends. `batch_outputs` come in one
    piece.
    """

    max_rows: int
    preferred: tuple[int, ...] = ()
    ragged: frozenset[str] = frozenset()
    batch_inputs: tuple[BatchInput, ...] = ()
    batch_outputs: tuple[BatchOutput, ...] = ()

    def compose(self, waiting: Sequence[Ticket], cost: CostModel, now: float) -> Composition:
        wanted = self._alike(waiting[0])
        chosen: list[Ticket] = []
        rows = 0
        most = self._in_time(waiting[0], cost, now)
        for ticket in waiting:
            if (rows + ticket.rows <= most or not chosen) and self._alike(ticket) == wanted:
                chosen.append(ticket)
                rows += ticket.rows
                if rows >= most:
                    break
        return self.arrange(self._cut(chosen, rows))

    def _in_time(self, head: Ticket, cost: CostModel, now: float) -> int:
        """Rows that a batch may have so that the head makes its deadline, by steps of a quarter; all where none can."""
        limit = head.deadline - now
        rows = self.max_rows
        while cost.predict(Shape(rows)) > limit:
            if rows <= head.rows:
                return self.max_rows
            rows = max(head.rows, rows * 3 // 4)
        return rows

    def _alike(self, ticket: Ticket) -> Mapping[str, tuple[int, ...]]:
        return {name: () if name in self.ragged else array.shape[1:] for name, array in ticket.tensors.items()}

    def _cut(self, chosen: list[Ticket], rows: int) -> list[Ticket]:
        size = max((p for p in self.preferred if p <= rows), default=rows)
        while rows > size and len(chosen) > 1:
            rows -= chosen.pop().rows
        return chosen

    def arrange(self, tickets: Sequence[Ticket]) -> Composition:
        rows = tuple(ticket.rows for ticket in tickets)
        return Composition(tickets, self._layout(rows, tickets), Shape(sum(rows)))

    def _layout(self, rows: tuple[int, ...], tickets: Sequence[Ticket]) -> Layout:
        if not (self.ragged or self.batch_inputs or self.batch_outputs):
            return Stacked(rows)
        scattered = {
            made.target_name: [made.part(ticket.tensors[made.source_input].shape) for ticket in tickets]
            for made in self.batch_outputs
        }
        return Ragged(rows, self.ragged, self.batch_inputs, scattered)

    @property
    def reach(self) -> int:
        return MIXED * self.max_rows

    def shapes(self) -> Sequence[Shape]:
        return (Shape(self.max_rows),)

    def alone(self, ticket: Ticket) -> Shape:
        return Shape(ticket.rows)

    def of(self, cost: int) -> Shape:
        return Shape(min(cost, self.max_rows))

    def limited(self, share: float) -> "StackComposer":
        return replace(self, max_rows=max(1, int(self.max_rows * share)))
