"""Composing padded batches: requests of alike lengths share one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engines.batch import Padded
from service.batching.compose import MIXED, Composition
from service.batching.cost import CostModel, Shape
from service.batching.ticket import Ticket


@dataclass(frozen=True, slots=True)
class PadComposer:
    """Requests padded to the longest of the batch. Lengths are kept alike where that raises the rate of useful cost.

    A batch is as small as the most urgent one needs to make its deadline.
    `values`: the filler of each padded input; a ticket's length is the largest second dimension of them.
    `sequences`: outputs as long as the inputs. Requests with other inputs or other fixed dimensions are never mixed.
    """

    max_rows: int
    values: Mapping[str, int]
    sequences: frozenset[str] = frozenset()

    def compose(self, waiting: Sequence[Ticket], cost: CostModel, now: float) -> Composition:
        wanted = self._alike(waiting[0])
        alike = [ticket for ticket in waiting[: self.reach] if self._alike(ticket) == wanted]
        near = sorted(alike, key=self._length)
        low = high = next(index for index, ticket in enumerate(near) if ticket is waiting[0])
        best, best_rate = near[low : high + 1], self._rate(near[low : high + 1], cost)
        while low > 0 or high < len(near) - 1:
            wider = [(i, j) for i, j in ((low - 1, high), (low, high + 1)) if i >= 0 and j < len(near)]
            rate, low, high = max((self._rate(near[i : j + 1], cost), i, j) for i, j in wider)
            group = near[low : high + 1]
            late = now + cost.predict(self._shape(group)) > waiting[0].deadline
            if late or sum(ticket.rows for ticket in group) > self.max_rows:
                break
            if rate > best_rate:
                best, best_rate = group, rate
        return self.arrange(best)

    def _alike(self, ticket: Ticket) -> Mapping[str, tuple[int, ...]]:
        return {name: array.shape[2 if name in self.values else 1 :] for name, array in ticket.tensors.items()}

    def _length(self, ticket: Ticket) -> int:
        return max((array.shape[1] for name, array in ticket.tensors.items() if name in self.values), default=0)

    def _rate(self, tickets: Sequence[Ticket], cost: CostModel) -> float:
        shape = self._shape(tickets)
        return sum(ticket.cost for ticket in tickets) / (cost.predict(shape) or shape.slots or 1)

    def _shape(self, tickets: Sequence[Ticket]) -> Shape:
        return Shape(sum(ticket.rows for ticket in tickets), max(self._length(ticket) for ticket in tickets))

    def arrange(self, tickets: Sequence[Ticket]) -> Composition:
        shape = self._shape(tickets)
        lengths = tuple(self._length(ticket) for ticket in tickets)
        layout = Padded(tuple(ticket.rows for ticket in tickets), shape.width, self.values, lengths, self.sequences)
        return Composition(tickets, layout, shape)

    @property
    def reach(self) -> int:
        return MIXED * self.max_rows

    def shapes(self) -> Sequence[Shape]:
        return (Shape(self.max_rows, 16),)

    def alone(self, ticket: Ticket) -> Shape:
        return self._shape((ticket,))

    def of(self, cost: int) -> Shape:
        return Shape(1, cost)

    def limited(self, share: float) -> "PadComposer":
        return replace(self, max_rows=max(1, int(self.max_rows * share)))
