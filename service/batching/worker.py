"""Runs one composed batch on one engine, so that every ticket gets an answer or its own error, or waits again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from engines.base import Engine
from engines.errors import (
    EngineError,
    EngineLostError,
    EngineMemoryError,
    ExecutionError,
    InvalidInputError,
)
from engines.tensor import Array
from service.batching.compose import Composer, Composition
from service.batching.failures import failure_of
from service.batching.losses import guilt, is_guilty, suspect
from service.batching.outputs import OutputCheck
from service.batching.ticket import Answer, Ticket
from service.errors import BatchyardError, EngineFailedError
from service.types import Timing

Clock = Callable[[], float]
Result = Answer | BatchyardError


@dataclass(slots=True)
class Executed:
    """A batch that ran, in `seconds`; of them `input_seconds` to lay it out, `output_seconds` to take it apart.

    `failed`: not all went well at once. `lost`: the engine's end, which left tickets `unanswered`.
    `guilty`: failed alone while others of their batch were answered. `unclear`: failed alone, and nothing tells whether
    it is the engine's fault. `splits`: how often it was cut in two. `memory_errors`, and `too_large`: the slots of the
    smallest batch of several tickets that did not fit, 0 where all did.
    """

    batch: Composition
    results: list[tuple[Ticket, Result]] = field(default_factory=list)
    seconds: float = 0.0
    input_seconds: float = 0.0
    output_seconds: float = 0.0
    failed: bool = False
    lost: EngineLostError | None = None
    unanswered: list[Ticket] = field(default_factory=list)
    guilty: list[Ticket] = field(default_factory=list)
    unclear: list[Ticket] = field(default_factory=list)
    splits: int = 0
    memory_errors: int = 0
    too_large: int = 0


class _Parts(NamedTuple):
    """What each ticket of a batch gets; seconds to lay the batch out and to take it apart."""

    outputs: list[dict[str, Array]]
    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Worker:
    """One engine instance with the means to run batches; used by the one thread that owns the engine."""

    engine: Engine
    check: OutputCheck
    composer: Composer
    clock: Clock

    def execute(self, batch: Composition) -> Executed:
        """Runs a batch. If it fails, its halves are run apart, down to the single ticket that is at fault."""
        executed = Executed(batch)
        alone: list[tuple[Ticket, EngineError]] = []
        start = self.clock()
        try:
            self._run(batch, executed, alone)
        except EngineLostError as error:
            executed.failed, executed.lost = True, error
        executed.seconds = self.clock() - start
        if executed.failed:
            _judge(executed, alone)
        return executed

    def _run(self, batch: Composition, executed: Executed, alone: list[tuple[Ticket, EngineError]]) -> None:
        start = self.clock()
        try:
            parts = self._outputs(batch, start)
        except EngineLostError as error:
            if not error.idle:
                suspect(batch.tickets, alone=len(batch.tickets) == 1)
            _spend(batch, self.clock() - start)
            raise
        except EngineError as error:
            _spend(batch, self.clock() - start)
            self._failed(batch, batch.tickets, error, executed, alone)
            return
        seconds = self.clock() - start
        executed.input_seconds += parts.input
        executed.output_seconds += parts.output
        size, tokens, slots = len(batch.tickets), batch.tokens, batch.layout.slots
        rate = seconds / (tokens or 1)
        odd: list[Ticket] = []
        said: EngineError | None = None
        for ticket, outputs in zip(batch.tickets, parts.outputs, strict=True):
            try:
                self.check.part(outputs)
            except EngineError as error:
                ticket.spent += rate * ticket.cost
                odd.append(ticket)
                said = error
            else:
                timing = Timing(
                    start - ticket.arrival, seconds, size, tokens, slots, input=parts.input, output=parts.output
                )
                timing.engine_seconds = ticket.spent + rate * ticket.cost
                executed.results.append((ticket, Answer(outputs, timing)))
        if said:
            self._failed(batch, odd, said, executed, alone)

    def _outputs(self, batch: Composition, start: float) -> _Parts:
        try:
            laid_out = batch.layout.collate([ticket.tensors for ticket in batch.tickets])
            ready = self.clock()
            outputs = self.engine.run(laid_out)
            computed = self.clock()
            self.check.batch(outputs)
            parts = batch.layout.split(outputs)
            return _Parts(parts, ready - start, self.clock() - computed)
        except EngineError:
            raise
        except Exception as error:
            raise ExecutionError(f"{type(error).__name__}: {error}") from error

    def _failed(
        self,
        batch: Composition,
        tickets: Sequence[Ticket],
        error: EngineError,
        executed: Executed,
        alone: list[tuple[Ticket, EngineError]],
    ) -> None:
        """`tickets`, of `batch`, have no answer: each half is run apart; what was alone already is at its end."""
        executed.failed = True
        if isinstance(error, EngineMemoryError):
            executed.memory_errors += 1
            if len(batch.tickets) > 1:
                executed.too_large = batch.layout.slots
        if len(batch.tickets) == 1:
            alone.append((batch.tickets[0], error))
            return
        executed.splits += 1
        half = (len(tickets) + 1) // 2
        for some in (tickets[:half], tickets[half:]):
            waited_for = [ticket for ticket in some if not ticket.gone]
            if waited_for:
                self._again(waited_for, executed, alone)

    def _again(self, tickets: Sequence[Ticket], executed: Executed, alone: list[tuple[Ticket, EngineError]]) -> None:
        try:
            batch = self.composer.arrange(tickets)
        except Exception as error:
            executed.results += [(ticket, EngineFailedError(not_composed(error))) for ticket in tickets]
            return
        self._run(batch, executed, alone)


def _spend(batch: Composition, seconds: float) -> None:
    """A batch gave no answers: its tickets were in it nevertheless."""
    rate = seconds / (batch.tokens or 1)
    for ticket in batch.tickets:
        ticket.spent += rate * ticket.cost


def _judge(executed: Executed, alone: Sequence[tuple[Ticket, EngineError]]) -> None:
    """Ends the tickets that failed alone.

    One is guilty if the same engine answered others of its batch: the engine works, the row does not. Where it answered
    none it may be broken itself, and a broken engine must not have what it was given refused everywhere.
    """
    answered = any(isinstance(result, Answer) for _, result in executed.results)
    for ticket, error in alone:
        if isinstance(error, InvalidInputError):
            executed.results.append((ticket, failure_of(error)))
            continue
        memory = isinstance(error, EngineMemoryError)
        guilty = answered and not memory
        message = f"the engine failed on this request: {error}"
        executed.results.append((ticket, EngineFailedError(message, retryable=not guilty)))
        if not memory:
            (executed.guilty if guilty else executed.unclear).append(ticket)
    if executed.lost:
        ended = {id(ticket) for ticket, _ in executed.results}
        give_back(executed, executed.lost, [ticket for ticket in executed.batch.tickets if id(ticket) not in ended])


def give_back(executed: Executed, lost: EngineLostError, left: Sequence[Ticket]) -> None:
    """The engine was lost, and these have no answer: they are unanswered, or guilty."""
    for ticket in left:
        if ticket.gone:
            continue
        if is_guilty(ticket):
            executed.results.append((ticket, guilt(lost)))
            executed.guilty.append(ticket)
        else:
            executed.unanswered.append(ticket)


def not_composed(error: Exception) -> str:
    """What a caller is told whose request the composer failed on."""
    return f"no batch could be made of this request: {type(error).__name__}: {error}"
