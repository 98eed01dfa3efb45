"""Runs one composed batch on one engine, so that every ticket ends with an answer or with its own error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engines.base import Engine
from engines.errors import EngineError, ExecutionError, InvalidInputError
from engines.tensor import Array
from service.batching.compose import Composer, Composition
from service.batching.ticket import Answer, Ticket
from service.errors import BatchyardError, EngineFailedError, InvalidRequestError
from service.types import Timing

Clock = Callable[[], float]
Result = Answer | BatchyardError


@dataclass(frozen=True, slots=True)
class Executed:
    """A batch that ran. `results` in the order of `batch.tickets`; `seconds` the engine took, None if it failed."""

    batch: Composition
    results: list[tuple[Ticket, Result]]
    seconds: float
    failed: bool


@dataclass(frozen=True, slots=True)
class Worker:
    """One engine instance with the means to run batches; used by the one thread that owns the engine."""

    engine: Engine
    composer: Composer
    clock: Clock

    def execute(self, batch: Composition) -> Executed:
        """Runs a batch. If it fails, its halves are run apart, down to the single ticket that is at fault."""
        start = self.clock()
        try:
            answers = self._answers(batch, start)
        except EngineError as error:
            return Executed(batch, self._apart(batch, error), self.clock() - start, failed=True)
        return Executed(batch, answers, self.clock() - start, failed=False)

    def _answers(self, batch: Composition, start: float) -> list[tuple[Ticket, Result]]:
        parts = self._run(batch)
        seconds = self.clock() - start
        size, tokens, slots = len(batch.tickets), batch.tokens, batch.layout.slots
        return [
            (ticket, Answer(outputs, Timing(start - ticket.arrival, seconds, size, tokens, slots)))
            for ticket, outputs in zip(batch.tickets, parts, strict=True)
        ]

    def _run(self, batch: Composition) -> list[dict[str, Array]]:
        try:
            outputs = self.engine.run(batch.layout.collate([ticket.tensors for ticket in batch.tickets]))
            return batch.layout.split(outputs)
        except EngineError:
            raise
        except Exception as error:
            raise ExecutionError(f"{type(error).__name__}: {error}") from error

    def _apart(self, batch: Composition, error: EngineError) -> list[tuple[Ticket, Result]]:
        if len(batch.tickets) == 1:
            return [(batch.tickets[0], _in_our_words(error))]
        half = len(batch.tickets) // 2
        results: list[tuple[Ticket, Result]] = []
        for tickets in (batch.tickets[:half], batch.tickets[half:]):
            waited_for = [ticket for ticket in tickets if not ticket.gone]
            if waited_for:
                results += self._again(waited_for)
        return results

    def _again(self, tickets: Sequence[Ticket]) -> list[tuple[Ticket, Result]]:
        try:
            batch = self.composer.arrange(tickets)
        except Exception as error:
            return [(ticket, EngineFailedError(not_composed(error))) for ticket in tickets]
        return self.execute(batch).results


def not_composed(error: Exception) -> str:
    """What a caller is told whose request the composer failed on."""
    return f"no batch could be made of this request: {type(error).__name__}: {error}"


def _in_our_words(error: EngineError) -> BatchyardError:
    if isinstance(error, InvalidInputError):
        return InvalidRequestError(str(error))
    return EngineFailedError(f"the engine failed on this request: {error}")
