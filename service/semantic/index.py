"""Earlier questions by their meaning: exact, in memory, bounded."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.semantic.facts import Facts

Vector = NDArray[np.float32]
"""FP32 [size], of length 1."""


@dataclass(frozen=True, slots=True)
class Near:
    """An earlier question. `key`: of its answer; `similarity`: cosine."""

    key: bytes
    similarity: float


@dataclass(slots=True)
class _Entry:
    row: int
    bucket: bytes
    facts: Facts
    until: float


@dataclass(slots=True)
class MemoryIndex:
    """At most `entries` questions, each for `ttl` seconds; the oldest goes first. Used on the event loop.

    Questions of one bucket alone are compared: one gather of their rows and one product of matrix and vector.
    """

    entries: int
    ttl: float
    now: Callable[[], float]
    _known: OrderedDict[bytes, _Entry] = field(default_factory=OrderedDict)
    _buckets: dict[bytes, list[bytes]] = field(default_factory=dict)
    _free: list[int] = field(default_factory=list)
    _matrix: Vector = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def __len__(self) -> int:
        return len(self._known)

    def add(self, bucket: bytes, vector: Vector, facts: Facts, key: bytes) -> None:
        """Remembers a question by the key of its answer."""
        self.remove(key)
        if self._matrix.shape[1] != vector.size:  # the first one, or those of another encoder
            self.clear()
            self._matrix = np.zeros((self.entries, vector.size), np.float32)
            self._free = list(range(self.entries))
        if not self._free:
            self.remove(next(iter(self._known)))
        row = self._free.pop()
        self._matrix[row] = vector
        self._known[key] = _Entry(row, bucket, facts, self.now() + self.ttl)
        self._buckets.setdefault(bucket, []).append(key)

    def find(self, bucket: bytes, vector: Vector, facts: Facts, threshold: float) -> Near | None:
        """The nearest question of the bucket whose facts fit, if its cosine reaches the threshold."""
        self._expire()
        keys = [key for key in self._buckets.get(bucket, ()) if self._known[key].facts.fits(facts)]
        if not keys or self._matrix.shape[1] != vector.size:
            return None
        scores = self._matrix[self._rows(keys)] @ vector
        best = int(scores.argmax())
        similarity = min(1.0, float(scores[best]))
        return Near(keys[best], similarity) if similarity >= threshold else None

    def _rows(self, keys: Sequence[bytes]) -> list[int]:
        return [self._known[key].row for key in keys]

    def _expire(self) -> None:
        """Those that were added first are over first."""
        now = self.now()
        while self._known and (oldest := next(iter(self._known.items())))[1].until <= now:
            self.remove(oldest[0])

    def remove(self, key: bytes) -> None:
        """Forgets the question with this answer, if it is known."""
        entry = self._known.pop(key, None)
        if entry is None:
            return
        self._free.append(entry.row)
        keys = self._buckets[entry.bucket]
        keys.remove(key)
        if not keys:
            del self._buckets[entry.bucket]

    def clear(self) -> None:
        """Forgets all."""
        self._known.clear()
        self._buckets.clear()
        self._free = list(range(len(self._matrix)))
