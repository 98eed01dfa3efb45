"""Counts how requests with any number of answers end, whatever answers them."""

from asyncio import CancelledError
from collections.abc import Callable

from service.errors import BatchyardError
from service.outcome import outcome_of
from service.telemetry.metrics import Metrics, Outcome
from service.types import DIRECT, InferRequest, InferResponse, Responses, Routed


class WatchedResponses:
    """A `service.types.Responses` that passes another on, with the outputs that the `request` wants, and tells the
    metrics of its end, once. `name`: model and version that answer, as `Replica.name`."""

    def __init__(
        self,
        inner: Responses,
        request: InferRequest,
        routed: Routed,
        name: str,
        start: float,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._inner = inner
        self._request = request
        self._last: InferResponse | None = None
        self._routed = routed
        self._model, _, self._version = name.rpartition(":")
        self._start = start
        self._clock = clock
        self._metrics = metrics
        self._ended = False

    async def read(self) -> InferResponse | None:
        """See `Responses`."""
        try:
            response = await self._inner.read()
        except (BatchyardError, CancelledError) as error:
            self._end(outcome_of(error))
            raise
        if response is not None:
            self._last = response
            if response.routed is DIRECT:
                response.routed = self._routed
            if wanted := self._request.outputs:
                found = response.outputs
                response.outputs = {name: array for name, array in found.items() if name in wanted}
        if response is None or response.final:
            self._answered()
        return response

    def close(self) -> None:
        """See `Responses`."""
        self._inner.close()
        self._end("CANCELED")

    def _answered(self) -> None:
        if self._last is None or self._ended:
            self._end("success")
            return
        self._ended = True
        self._metrics.answered(self._last, self._request.inputs, self._clock() - self._start)

    def _end(self, outcome: Outcome) -> None:
        if not self._ended:
            self._ended = True
            self._metrics.request_done(self._model, self._version, outcome, self._clock() - self._start)
