"""Answers in this process, within a bound of bytes; what saves most for its size stays longest."""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

Value = TypeVar("Value")

ENTRY_BYTES = 512
"""What an entry takes beside its value: key, places in the map and the heap, counters."""
_LEAST_COST = 1e-6
"""Seconds: what costs nothing is still told apart by its size and use."""


@dataclass(slots=True, eq=False)
class _Entry(Generic[Value]):
    """`worth`: cost / size. `number`: of its one place in the heap that counts."""

    value: Value
    size: int
    worth: float
    until: float
    rank: float
    number: int
    uses: int = 1


class Memory(Generic[Value]):
    """GreedyDual-Size-Frequency: L. Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency
    Caching Policy", HPL-98-69R1, 1998. An entry ranks by the age of the cache plus uses * cost / size; the lowest goes,
    and its rank is the new age.

    Uses are not told to the heap, whose ranks may so be too low: an entry that comes up too early is put back by its
    true rank. A read is O(1), a write O(log n), amortised. Used on the event loop only. `most`: bytes in all; `now`:
    seconds since 1970.
    """

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self.bytes = 0
        self.evictions = 0
        self._most = most
        self._now = now
        self._age = 0.0
        self._number = 0
        self._entries: dict[bytes, _Entry[Value]] = {}
        self._heap: list[tuple[float, int, bytes]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Value | None:
        """What was put, unless its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._now() >= entry.until:
            self._drop(key)
            return None
        entry.uses += 1
        entry.rank = self._age + entry.uses * entry.worth
        return entry.value

    def put(self, key: bytes, value: Value, size: int, cost: float, until: float) -> None:
        """Keeps a value, unless it is larger than all may be. `size`: bytes; `cost`: seconds that it saves whenever it
        is found; `until`: seconds since 1970."""
        self._drop(key)
        size += ENTRY_BYTES
        if size > self._most:
            return
        self._make_room(self._most - size)
        worth = max(cost, _LEAST_COST) / size
        self._number += 1
        entry = _Entry(value, size, worth, until, self._age + worth, self._number)
        self._entries[key] = entry
        self.bytes += size
        heappush(self._heap, (entry.rank, entry.number, key))

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.bytes -= entry.size
        if len(self._heap) > 2 * len(self._entries) + 64:
            self._heap = [(one.rank, one.number, name) for name, one in self._entries.items()]
            heapify(self._heap)

    def _make_room(self, most: int) -> None:
        while self.bytes > most:
            rank, number, key = heappop(self._heap)
            entry = self._entries.get(key)
            if entry is None or entry.number != number:
                continue
            if entry.rank > rank:
                heappush(self._heap, (entry.rank, number, key))
                continue
            self._age = rank
            self.evictions += 1
            self._drop(key)
