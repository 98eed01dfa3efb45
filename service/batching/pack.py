"""Composing packed batches: texts laid end to end in rows, so that nothing is padded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engines.batch import Packed, Placement
from engines.model_config import Packing
from service.batching.compose import Composition
from service.batching.cost import CostModel, Shape
from service.batching.packing import fill_rows, pack_all
from service.batching.ticket import Ticket

_SHORT_TEXT = 4
"""Tokens: a batch is chosen from as many waiting texts as it would hold of this length."""
_OVERHEAD = 0.0005
"""Seconds that a batch takes beside the engine's: composing, laying out, waking the callers."""
_FILL = 0.97
"""What filling rows from a backlog is known to reach; for comparing shapes before one of them is filled."""


@dataclass(frozen=True, slots=True)
class PackComposer:
    """Texts in rows: all that wait, in the cheapest shape that holds them, or a shape that the most urgent fill.

    Of the two the one is taken that gives the least predicted time to an answer, the mean over all tokens. Either
    is small enough for the most urgent text to make its deadline, where any shape is.
    """

    packing: Packing

    def compose(self, waiting: Sequence[Ticket], cost: CostModel, now: float) -> Composition:
        seen = waiting[: self.reach]
        lengths = [ticket.cost for ticket in seen]
        least = cost.predict(Shape(1, self.packing.widths[0]))
        backlog = _Backlog(sum(lengths), cost, cost.best_rate(self.shapes()), least)
        limit = waiting[0].deadline - now
        options = [self._filled(seen, lengths, shape) for shape in self._to_fill(lengths[0], backlog, limit)]
        whole = self._cheapest(lengths, cost) if backlog.tokens <= self.packing.max_tokens else None
        if whole and cost.predict(_shape(whole)) <= limit:
            options.append(Composition(seen, whole, _shape(whole)))
        return min(options, key=lambda option: backlog.mean_seconds(option.shape, option.tokens))

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

    def _to_fill(self, longest: int, backlog: "_Backlog", limit: float) -> list[Shape]:
        """Of each width that holds the head, the shape that promises most and keeps its deadline; else the quickest."""
        widths = [width for width in self.packing.widths if width >= longest]
        shapes = [[Shape(rows, width) for rows in self.packing.row_counts(width)] for width in widths]
        in_time = [[shape for shape in group if backlog.cost.predict(shape) <= limit] for group in shapes]
        best = [min(group, key=backlog.promise) for group in in_time if group]
        return best or [min((shape for group in shapes for shape in group), key=backlog.cost.predict)]

    def _filled(self, waiting: Sequence[Ticket], lengths: list[int], shape: Shape) -> Composition:
        placed = fill_rows(lengths, shape.width, shape.rows, self.packing.segments(shape.width))
        order = sorted(placed)
        layout = Packed(shape.rows, shape.width, tuple(placed[index] for index in order))
        return Composition([waiting[index] for index in order], layout, shape)

    def arrange(self, tickets: Sequence[Ticket]) -> Composition:
        lengths = [ticket.cost for ticket in tickets]
        layouts = (self._least_rows(lengths, width) for width in self.packing.widths)
        layout = next((layout for layout in layouts if layout), None) or self._one_a_row(lengths)
        return Composition(tickets, layout, _shape(layout))

    def _one_a_row(self, lengths: Sequence[int]) -> Packed:
        width = min(width for width in self.packing.widths if width >= max(lengths))
        return Packed(len(lengths), width, tuple(Placement(row, 0, 0) for row in range(len(lengths))))

    @property
    def reach(self) -> int:
        return max(1, self.packing.max_tokens // _SHORT_TEXT)

    def shapes(self) -> Sequence[Shape]:
        return [Shape(self.packing.row_counts(width)[-1], width) for width in self.packing.widths]

    def alone(self, ticket: Ticket) -> Shape:
        return Shape(1, min(width for width in self.packing.widths if width >= ticket.cost))

    def of(self, cost: int) -> Shape:
        return Shape(1, next((width for width in self.packing.widths if width >= cost), self.packing.widths[-1]))

    def limited(self, share: float) -> "PackComposer":
        return PackComposer(replace(self.packing, max_tokens=max(1, int(self.packing.max_tokens * share))))


@dataclass(frozen=True, slots=True)
class _Backlog:
    """All that waits, in tokens. The rest is taken to run at `rate` tokens a second, in `least` seconds or more."""

    tokens: int
    cost: CostModel
    rate: float
    least: float

    def mean_seconds(self, shape: Shape, tokens: float) -> float:
        """Predicted seconds to an answer if a batch of `shape` takes `tokens`: the mean over all tokens that wait.

        What is left waits for this batch, and then for one more that holds it all.
        """
        first = (self.cost.predict(shape) or shape.slots) + _OVERHEAD
        left = self.tokens - tokens
        return first + left / self.tokens * (max(left / self.rate, self.least) + _OVERHEAD)

    def promise(self, shape: Shape) -> float:
        """`mean_seconds` of a shape as full as a backlog makes it."""
        return self.mean_seconds(shape, min(self.tokens, _FILL * shape.slots))


def _shape(layout: Packed) -> Shape:
    return Shape(layout.rows, layout.width)
