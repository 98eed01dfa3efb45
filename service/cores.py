"""The CPU cores shared by all engines: a batch runs when its threads are free, so that models never fight for cores."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock


class CoreBudget:
    """A counting semaphore that serves in order of arrival: a batch of many threads is not starved by small ones."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._free = cores
        self._lock = Lock()
        self._queue: deque[tuple[int, Event]] = deque()

    def acquire(self, threads: int) -> None:
        """Blocks until `threads` cores (at most all of them) are this caller's; 0 waits for nobody."""
        wanted = min(threads, self._cores)
        with self._lock:
            if not wanted or (not self._queue and wanted <= self._free):
                self._free -= wanted
                return
            turn = Event()
            self._queue.append((wanted, turn))
        turn.wait()

    def is_only(self, threads: int) -> bool:
        """Does whoever holds so many cores hold all that are taken, and wants nobody else one?"""
        return self._free + min(threads, self._cores) >= self._cores and not self._queue

    @contextmanager
    def taken(self, threads: int) -> Iterator[None]:
        """Holds `threads` cores for as long as the block runs."""
        self.acquire(threads)
        try:
            yield
        finally:
            self.release(threads)

    def release(self, threads: int) -> None:
        """Gives back what `acquire` of the same number took."""
        with self._lock:
            self._free += min(threads, self._cores)
            while self._queue and self._queue[0][0] <= self._free:
                wanted, turn = self._queue.popleft()
                self._free -= wanted
                turn.set()
