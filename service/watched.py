"""Counts how generations end, whatever generates them."""

from collections.abc import Callable, Sequence

from engines.generation import Event, Usage
from service.errors import BatchyardError
from service.generating import Generation
from service.outcome import outcome_of
from service.passed_on import PassedOn
from service.telemetry.metrics import Metrics, Outcome
from service.types import Routed


class WatchedGeneration(PassedOn):
    """A `service.generating.Generation` that passes another on, and tells the metrics of its end, once."""

    def __init__(
        self, inner: Generation, routed: Routed, start: float, clock: Callable[[], float], metrics: Metrics
    ) -> None:
        super().__init__(inner)
        self.routed = routed
        self._start = start
        self._clock = clock
        self._metrics = metrics
        self._ended = False

    async def read(self) -> Sequence[Event]:
        """See `Generation`."""
        try:
            events = await self._inner.read()
        except BatchyardError as error:
            self._end(outcome_of(error))
            raise
        if events and isinstance(events[-1], Usage):
            self._answered(events[-1])
        return events

    def _answered(self, usage: Usage) -> None:
        if not self._ended:
            seconds = self._clock() - self._start
            self._metrics.generation_done(self.model, self.version, self.timing, usage, seconds, self.cached)
        self._end("success")

    def close(self) -> None:
        """See `Generation`."""
        self._inner.close()
        self._end("CANCELED")

    def _end(self, outcome: Outcome) -> None:
        if not self._ended:
            self._ended = True
            self._metrics.request_done(self.model, self.version, outcome, self._clock() - self._start)
