"""The calls that a Python model has yet to answer."""

from collections.abc import Sequence
from itertools import count
from threading import Lock

from engines.calls import Call, Response


class OpenCalls:
    """Calls by the key under which the model's process knows them; used by any thread.

    Those of the execution that runs are `execute`'s to answer where the process is lost, until they `leave`.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys = count()
        self._calls: dict[int, Call] = {}
        self._answered: set[int] = set()
        self._running: set[int] = set()
        self._last: Response | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, calls: Sequence[Call]) -> list[int]:
        """The keys of new calls, which are about to be executed."""
        keys = [next(self._keys) for _ in calls]
        with self._lock:
            self._calls.update(zip(keys, calls, strict=True))
            self._running.update(keys)
        return keys

    def is_cancelled(self, key: int) -> bool:
        """Does nobody wait for the call any more?"""
        with self._lock:
            call = self._calls.get(key)
        return call is None or call.cancelled()

    def answer(self, key: int, response: Response) -> None:
        """Hands the call an answer of its own; a call that has its final one is gone."""
        with self._lock:
            call = self._calls.get(key)
            if call is None:
                return
            self._answered.add(key)
            if response.final or response.error is not None:
                self._remove(key)
        call.respond(response)

    def settle(self, key: int, response: Response) -> Response | None:
        """The final answer, for `execute` to return; None where the call was answered by itself before."""
        with self._lock:
            if key in self._calls and key not in self._answered:
                self._remove(key)
                return response
        self.answer(key, response)
        return None

    def leave(self, keys: Sequence[int]) -> None:
        """The execution of these is over; those that are open still are so until their final answer."""
        with self._lock:
            self._running.difference_update(keys)
            last = self._last
        if last is not None:
            self.end(last)

    def forget(self, keys: Sequence[int]) -> None:
        """These are answered by somebody else."""
        with self._lock:
            for key in keys:
                self._remove(key)

    def end(self, last: Response) -> None:
        """Answers all that are open, but for the execution that runs."""
        with self._lock:
            self._last = last
            keys = self._calls.keys() - self._running
            calls = [self._calls[key] for key in keys]
            for key in keys:
                self._remove(key)
        for call in calls:
            call.respond(last)

    def _remove(self, key: int) -> None:
        self._calls.pop(key, None)
        self._answered.discard(key)
        self._running.discard(key)
