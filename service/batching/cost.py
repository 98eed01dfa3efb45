"""What a batch will take: seconds = a + b * slots + c * squares, fitted online from every batch."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """What a batch costs by: `rows` rows of `width` slots. Models that are not text have width 1."""

    rows: int
    width: int = 1

    @property
    def slots(self) -> int:
        return self.rows * self.width

    @property
    def features(self) -> tuple[float, float, float]:
        """Constant, slots, and the attention term: rows of width squared (0 where width is 1)."""
        return (1.0, float(self.slots), float(self.rows * self.width**2) if self.width > 1 else 0.0)


_MOST_SHAPES = 4096
"""Shapes with a mean of their own; the oldest goes first, for callers choose the widths of padded batches."""
_SURPRISE = 2.0
"""One batch counts at most this many times its shape's mean: a stall of the machine must not refuse what follows."""
_RELIEF = 0.5
"""A batch that takes less than half its shape's mean counts as much as the mean itself: no accident makes a machine
faster, so what slowed it is over, and what was refused meanwhile need not be refused any longer."""


class CostModel:
    """Seconds of a batch by its shape. Not thread-safe; the replica's lock guards it.

    Shapes that were seen answer from their own running mean; others from non-negative least squares over decayed
    normal equations, solved by coordinate descent (D. P. Bertsekas, Nonlinear Programming, section 2.3).
    """

    def __init__(self, *, decay: float = 0.98, memory: float = 0.2) -> None:
        self._decay = decay
        self._memory = memory
        self._gram = [[0.0] * 3 for _ in range(3)]
        self._moment = [0.0] * 3
        self._weights = [0.0, 0.0, 0.0]
        self._stale = False
        self._seen: dict[Shape, float] = {}

    def record(self, shape: Shape, seconds: float) -> None:
        """Learns from one batch; each counts by its relative error, so short batches weigh as much as long ones."""
        seconds = self._remember(shape, seconds)
        scale = 1.0 / max(seconds, 1e-6)
        features = [f * scale for f in shape.features]
        for i, left in enumerate(features):
            row = self._gram[i]
            for j, right in enumerate(features):
                row[j] = row[j] * self._decay + left * right
            self._moment[i] = self._moment[i] * self._decay + left
        self._stale = True

    def _remember(self, shape: Shape, seconds: float) -> float:
        """Moves the mean of the shape; returns what the batch counts as."""
        mean = self._seen.get(shape)
        if not mean:
            self._seen[shape] = seconds
        else:
            seconds = min(seconds, _SURPRISE * mean)
            memory = _RELIEF if seconds < _RELIEF * mean else self._memory
            self._seen[shape] = mean + memory * (seconds - mean)
        if len(self._seen) > _MOST_SHAPES:
            del self._seen[next(iter(self._seen))]
        return seconds

    def predict(self, shape: Shape) -> float:
        """Predicted seconds; 0 before anything was recorded."""
        mean = self._seen.get(shape)
        if mean is not None:
            return mean
        if self._stale:
            self._solve()
        return sum(w * f for w, f in zip(self._weights, shape.features, strict=True))

    def best(self, shapes: Sequence[Shape]) -> tuple[int, float]:
        """Slots and predicted seconds of the shape with the highest rate; 0 seconds before anything was recorded."""
        seconds = [self.predict(shape) for shape in shapes]
        chosen = max(range(len(shapes)), key=lambda i: shapes[i].slots / (seconds[i] or float("inf")))
        return shapes[chosen].slots, seconds[chosen]

    def best_rate(self, shapes: Sequence[Shape]) -> float:
        """The highest predicted slots per second over `shapes`; infinite before anything was recorded."""
        slots, seconds = self.best(shapes)
        return slots / seconds if seconds else float("inf")

    def _solve(self) -> None:
        weights, gram, moment = self._weights, self._gram, self._moment
        for _ in range(50):
            for i in range(3):
                if gram[i][i] > 0:
                    rest = sum(gram[i][j] * weights[j] for j in range(3) if j != i)
                    weights[i] = max(0.0, (moment[i] - rest) / gram[i][i])
        self._stale = False
