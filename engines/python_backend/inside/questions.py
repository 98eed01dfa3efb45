"""The answers of other models to what a Python model asks them."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Condition
from typing import Self

from engines.python_backend.inside.errors import TritonModelException
from engines.python_backend.inside.parent import Parent
from engines.python_backend.inside.response import InferenceResponse, incoming
from engines.python_backend.messages import Asked, AskedReady, GaveUp, Told, Verdict
from engines.tensor import Array, Tensors


class Answers:
    """Those to one question, in their order. The gateway sees to it that a final one comes."""

    def __init__(self) -> None:
        self._came = Condition()
        self._waiting: deque[InferenceResponse] = deque()
        self._final = False
        self._wake: Callable[[], object] | None = None
        self._give_up: Callable[[], None] = lambda: None

    @classmethod
    def to(cls, parent: Parent, question: Callable[[int], Asked | AskedReady], tensors: Tensors) -> "Answers":
        """Asks; `question` makes the message of a key."""
        answers = cls()
        key = parent.expect(answers._take)
        answers._give_up = lambda: parent.send_soon(GaveUp(key))
        try:
            parent.send(question(key), tensors)
        except BaseException:
            parent.forget(key)
            raise
        return answers

    @property
    def is_over(self) -> bool:
        """Has the final one come?"""
        return self._final

    def give_up(self) -> None:
        """Wants no more; an error that says so comes as the final one."""
        if not self._final:
            self._give_up()

    def wait(self) -> None:
        """Until there is one, or no more will come."""
        with self._came:
            self._came.wait_for(lambda: self._waiting or self._final)

    async def arrival(self, loop: asyncio.AbstractEventLoop) -> None:
        """As `wait`, on an event loop."""
        arrived = asyncio.Event()
        with self._came:
            if self._waiting or self._final:
                return
            self._wake = lambda: loop.call_soon_threadsafe(arrived.set)
        await arrived.wait()

    def next(self) -> InferenceResponse:
        """Waits for the next one; raises `StopIteration` after the final one."""
        self.wait()
        with self._came:
            if not self._waiting:
                raise StopIteration
            return self._waiting.popleft()

    def _take(self, message: Told | Verdict, tensors: dict[str, Array]) -> None:
        if isinstance(message, Verdict):
            raise TritonModelException("a question was answered with a verdict")
        with self._came:
            self._waiting.append(incoming(message.answer, tensors))
            self._final = message.answer.final
            wake, self._wake = self._wake, None
            self._came.notify_all()
        if wake is not None:
            with suppress(RuntimeError):  # the loop that waited is closed
                wake()


class ResponseIterator:
    """The answers of a decoupled model; the last may be without tensors. Once at its end, it starts again."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._seen: list[InferenceResponse] = []
        self._position = 0

    def __iter__(self) -> Self:
        if self._answers.is_over and self._position >= len(self._seen):
            self._position = 0
        return self

    def __next__(self) -> InferenceResponse:
        if self._position >= len(self._seen):
            self._seen.append(self._answers.next())
        self._position += 1
        return self._seen[self._position - 1]

    def cancel(self) -> None:
        """Asks the other model to stop."""
        self._answers.give_up()

    def __del__(self) -> None:
        if hasattr(self, "_answers"):
            self._answers.give_up()
