"""The way out of a model's process: whatever any of its threads has to say to the gateway, and the answers to that."""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from queue import SimpleQueue
from threading import Lock, Thread

from engines.apart_line import NO_TENSORS, Line
from engines.python_backend.messages import Dropped, FromModel, GaveUp, IsCancelled, Told, ToModel, Verdict
from engines.tensor import Array, Tensors

Arrived = Callable[[Told | Verdict, dict[str, Array]], None]
"""Takes an answer, on the thread that reads; must not block."""


class Parent:
    """The gateway as the model's process sees it; used by any thread. `said`: messages sent so far."""

    def __init__(self, line: Line[ToModel]) -> None:
        self._line = line
        self._sending = Lock()
        self._keys = count()
        self._waiting: dict[int, Arrived] = {}
        self.said = 0
        self._last_words: SimpleQueue[Dropped | GaveUp] = SimpleQueue()
        Thread(target=self._send_last_words, name="last-words", daemon=True).start()

    def send(self, message: FromModel, tensors: Tensors = NO_TENSORS) -> None:
        """Says it; waits while the gateway is slow to read."""
        with self._sending:
            self._line.send(message, tensors)
            self.said += 1

    def send_soon(self, message: Dropped | GaveUp) -> None:
        """Has it said by another thread: for destructors, which may run while their thread is sending."""
        self._last_words.put(message)

    def expect(self, arrived: Arrived) -> int:
        """The key of what is about to be asked; `arrived` takes its answers, up to the final one or `forget`."""
        key = next(self._keys)
        self._waiting[key] = arrived
        return key

    def forget(self, key: int) -> None:
        """Takes no more answers."""
        self._waiting.pop(key, None)

    def is_cancelled(self, request: int) -> bool:
        """Does nobody wait for this request any more?"""
        verdicts: SimpleQueue[bool] = SimpleQueue()
        key = self.expect(lambda message, _: verdicts.put(isinstance(message, Verdict) and message.yes))
        self.send(IsCancelled(key, request))
        return verdicts.get()

    def listen(self) -> None:
        """Hands on the answers that come; raises `EOFError` or `OSError` where the gateway is gone."""
        while True:
            self._take(*self._line.receive())

    def _take(self, message: Told | Verdict, tensors: dict[str, Array]) -> None:
        is_last = isinstance(message, Verdict) or message.answer.final
        arrived = self._waiting.pop(message.key, None) if is_last else self._waiting.get(message.key)
        if arrived is not None:
            arrived(message, tensors)

    def _send_last_words(self) -> None:
        with suppress(OSError):
            while True:
                self.send(self._last_words.get())
