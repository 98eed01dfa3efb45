"""Composing packed batches: texts laid end to end in rows, so that nothing is padded."""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.batch import Packed
from engines.model_config import Packing
from service.batching.compose import Composition
from service.batching.cost import CostModel, Shape
from service.batching.packing import fill_rows, pack_all
from service.batching.ticket import Ticket


@dataclass(frozen=True, slots=True)
class PackComposer:
    """Texts packed into rows. Few texts go into the cheapest shape that holds them all; many fill the fastest one.

    The batch is kept small enough for the most urgent ticket to make its deadline, where any size is.
    """

    packing: Packing

    def compose(self, waiting: Sequence[Ticket], cost: CostModel, now: float) -> Composition:
        lengths = [ticket.cost for ticket in waiting[: 4 * self.packing.max_tokens // 16]]
        limit = waiting[0].deadline - now
        if sum(lengths) <= self.packing.max_tokens:
            whole = self._cheapest(lengths, cost)
            if whole and cost.predict(_shape(whole)) <= limit:
                return Composition(waiting[: len(lengths)], whole, _shape(whole))
        return self._fullest(waiting, lengths, cost, limit)

    def _cheapest(self, lengths: Sequence[int], cost: CostModel) -> Packed | None:
        layouts = [layout for width in self.packing.widths if (layout := self._least_rows(lengths, width))]
        return min(layouts, key=lambda layout: (cost.predict(_shape(layout)), layout.slots), default=None)

    def _least_rows(self, lengths: Sequence[int], width: int) -> Packed | None:
        if max(lengths) > width:
            return None
        for rows in self.packing.row_counts(width):
            if rows * width >= sum(lengths):
                places = pack_all(lengths, width, rows, self.packing.segments(width))
                if places:
                    return Packed(rows, width, tuple(places))
        return None

    def _fullest(self, waiting: Sequence[Ticket], lengths: list[int], cost: CostModel, limit: float) -> Composition:
        """The batch with the highest rate of tokens among the best shape of each width."""
        batches = [self._filled(waiting, lengths, shape) for shape in self._candidates(lengths[0], cost, limit)]
        return max(batches, key=lambda batch: batch.tokens / (cost.predict(batch.shape) or batch.shape.slots))

    def _filled(self, waiting: Sequence[Ticket], lengths: list[int], shape: Shape) -> Composition:
        placed = fill_rows(lengths, shape.width, shape.rows, self.packing.segments(shape.width))
        order = sorted(placed)
        layout = Packed(shape.rows, shape.width, tuple(placed[index] for index in order))
        return Composition([waiting[index] for index in order], layout, shape)

    def _candidates(self, longest: int, cost: CostModel, limit: float) -> list[Shape]:
        """Of each width that holds the head, the fastest shape that keeps its deadline; else the quickest of all."""
        widths = [width for width in self.packing.widths if width >= longest]
        shapes = [[Shape(rows, width) for rows in self.packing.row_counts(width)] for width in widths]
        in_time = [[shape for shape in of_width if cost.predict(shape) <= limit] for of_width in shapes]
        best = [
            max(of_width, key=lambda s: (s.slots / (cost.predict(s) or 1.0), s.slots))
            for of_width in in_time
            if of_width
        ]
        return best or [min((shape for of_width in shapes for shape in of_width), key=cost.predict)]

    def arrange(self, tickets: Sequence[Ticket]) -> Composition:
        lengths = [ticket.cost for ticket in tickets]
        for width in self.packing.widths:
            layout = self._least_rows(lengths, width)
            if layout:
                return Composition(tickets, layout, _shape(layout))
        raise ValueError(f"{sum(lengths)} tokens do not fit a batch of {self.packing.max_tokens}")

    def shapes(self) -> Sequence[Shape]:
        return [Shape(self.packing.row_counts(width)[-1], width) for width in self.packing.widths]

    def alone(self, ticket: Ticket) -> Shape:
        return Shape(1, min(width for width in self.packing.widths if width >= ticket.cost))


def _shape(layout: Packed) -> Shape:
    return Shape(layout.rows, layout.width)
