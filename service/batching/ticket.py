"""A waiting part of a request, and the request it belongs to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from engines.calls import NO_PARAMETERS, Parameter
from engines.tensor import Array, Tensors
from service.types import ANYONE, NO_PREDICTION, InferRequest, Prediction, Tenant, Timing

LOADS = 5
IDLE, BUSY, BACKLOG, OVERTAKEN, BULK = range(LOADS)
"""What a request meets, since each load spreads its answers in its own way: an idle instance; a batch that runs, or
little that waits; a batch's worth or more that waits; that, and so much time left that what comes later may overtake
it; or it is itself of low urgency."""


class Outlook(NamedTuple):
    """What the cost model alone says of a request: seconds until a batch takes it, and until its answer is there."""

    queue: float
    seconds: float
    load: int


@dataclass(slots=True)
class Answer:
    """What a batch gave one part. `parameters`: what the model says beside it. `final`: nothing follows."""

    outputs: dict[str, Array]
    timing: Timing
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)
    final: bool = True


class Settleable(Protocol):
    """The part of a future that batching needs; asyncio's and concurrent.futures' both fit."""

    def done(self) -> bool: ...

    def set_result(self, result: list[Answer], /) -> None: ...

    def set_exception(self, exception: Exception, /) -> None: ...


@dataclass(slots=True, eq=False)
class Waiting:
    """One request's parts on their way: settled once, when the last answer is there or at the first error.

    A caller who left, or whose deadline passed, has a done `future`; its tickets are then dropped wherever they are.
    `arrival`: seconds on the gateway's clock. `outlook`, `predicted`: what was thought of it when the queue took it.
    `actual`: seconds from then to the answer, once it is there. `request`: as it came, None where nobody asks for it.
    `each`: takes the answers of a request that may have several; None: it has one a part. `slot`: see `Job`. `tenant`:
    whose it is.
    """

    future: Settleable
    answers: list[Answer | None]
    left: int
    arrival: float = 0.0
    outlook: Outlook | None = None
    predicted: Prediction = NO_PREDICTION
    actual: float = 0.0
    request: InferRequest | None = None
    each: Callable[[Answer], None] | None = None
    slot: int = 0
    tenant: Tenant = ANYONE

    def answer(self, part: int, answer: Answer, now: float) -> bool:
        """Takes the answer of one part; was it the last that was missing?"""
        if self.future.done():
            return False
        if self.each is not None:
            self.actual = now - self.arrival
            self.each(answer)
            return answer.final
        self.answers[part] = answer
        self.left -= 1
        if self.left:
            return False
        self.actual = now - self.arrival
        self.future.set_result([a for a in self.answers if a is not None])
        return True

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Ticket:
    """One part waiting for a batch. Times in seconds on the gateway's clock.

    `rows`: rows it adds to a batch. `cost`: what it adds to the budget, tokens for text, rows otherwise. `due`: when
    it wants to be answered; tickets are taken in this order. `expires`: when the queue gives it up. `alone`: seconds
    that a batch of only this ticket is predicted to take. `bulk`: it gives way to all that is not, until it is `due`.
    `losses`: batches it was in when their engine was lost; `lone_losses`: of them, those that held nothing else.
    `spent`: its share, in seconds, of the batches that gave it no answer.
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
    level: int = 1
    bulk: bool = False
    alone: float = 0.0
    losses: int = 0
    lone_losses: int = 0
    spent: float = 0.0

    @property
    def gone(self) -> bool:
        """Nobody waits for it any more."""
        return self.waiting.future.done()

    @property
    def suspect(self) -> bool:
        """Did a batch that it was in lose its engine?"""
        return self.losses > 0
