"""A waiting part of a request, and the request it belongs to."""

from dataclasses import dataclass, field
from typing import Protocol

from engines.tensor import Array, Tensors
from service.types import Timing


@dataclass(slots=True)
class Answer:
    """What a batch gave one part."""

    outputs: dict[str, Array]
    timing: Timing


class Settleable(Protocol):
    """The part of a future that batching needs; asyncio's and concurrent.futures' both fit."""

    def done(self) -> bool: ...

    def set_result(self, result: list[Answer], /) -> None: ...

    def set_exception(self, exception: Exception, /) -> None: ...


@dataclass(slots=True, eq=False)
class Waiting:
    """One request's parts on their way: settled once, when the last answer is there or at the first error.

    A caller who left, or whose deadline passed, has a done `future`; its tickets are then dropped wherever they are.
    """

    future: Settleable
    answers: list[Answer | None]
    left: int

    def answer(self, part: int, answer: Answer) -> None:
        if self.future.done():
            return
        self.answers[part] = answer
        self.left -= 1
        if self.left == 0:
            self.future.set_result([a for a in self.answers if a is not None])

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Ticket:
    """One part waiting for a batch. Times in seconds on the gateway's clock.

    `rows`: rows it adds to a batch. `cost`: what it adds to the budget, tokens for text, rows otherwise. `due`: when
    it wants to be answered; tickets are taken in this order. `expires`: when the queue gives it up.
    """

    waiting: Waiting
    part: int
    tensors: Tensors
    rows: int
    cost: int
    arrival: float
    deadline: float
    due: float
    expires: float
    level: int = field(default=1)

    @property
    def gone(self) -> bool:
        """Nobody waits for it any more."""
        return self.waiting.future.done()
