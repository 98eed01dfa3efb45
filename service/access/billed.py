"""Answers that are paid for once they are over."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from engines.generation import Delta, Event, Usage
from service.errors import BatchyardError
from service.generating import Generation
from service.passed_on import PassedOn
from service.types import Bill, InferResponse, Responses


class Spending(ABC):
    """What one call costs. Its steps in other models are on `bill`; where it has none, its answer says what it cost."""

    def __init__(self) -> None:
        self.bill = Bill()
        self._told = 0.0
        self._ended = False

    def answered(self, response: InferResponse) -> None:
        """One of its answers is there. An answer of the cache says that it took no time of an engine."""
        self.bill.tokens = max(self.bill.tokens, response.tokens)
        self.spent(response.timing.engine_seconds)

    def spent(self, engine_seconds: float) -> None:
        """By itself or its steps."""
        self._told += engine_seconds

    def end(self) -> None:
        """It is over; may be said again."""
        if not self._ended:
            self._ended = True
            self.bill.engine_seconds = self.bill.engine_seconds or self._told
            self.settle()

    @abstractmethod
    def settle(self) -> None:
        """Has the bill paid."""


class BilledResponses:
    """A `service.types.Responses` that passes another on."""

    def __init__(self, inner: Responses, spending: Spending) -> None:
        self._inner = inner
        self._spending = spending

    async def read(self) -> InferResponse | None:
        """See `Responses`."""
        try:
            response = await self._inner.read()
        except BatchyardError:
            self._spending.end()
            raise
        if response is not None:
            self._spending.answered(response)
        if response is None or response.final:
            self._spending.end()
        return response

    def close(self) -> None:
        """See `Responses`."""
        self._inner.close()
        self._spending.end()


class BilledGeneration(PassedOn):
    """A `service.generating.Generation` that passes another on. One that does not come to its end is known to have
    written at least a token a piece."""

    def __init__(self, inner: Generation, spending: Spending) -> None:
        super().__init__(inner)
        self._spending = spending

    async def read(self) -> Sequence[Event]:
        """See `Generation`."""
        try:
            events = await self._inner.read()
        except BatchyardError:
            self._end()
            raise
        bill = self._spending.bill
        for event in events:
            if type(event) is Delta:
                bill.tokens += 1
            elif type(event) is Usage:
                bill.tokens = event.prompt_tokens + event.completion_tokens
                self._end()
        return events

    def close(self) -> None:
        """See `Generation`."""
        self._inner.close()
        self._end()

    def _end(self) -> None:
        self._spending.spent(self.timing.engine_seconds)
        self._spending.end()
