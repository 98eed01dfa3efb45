"""The one door: every protocol calls `Gateway.infer`."""

from asyncio import CancelledError
from collections.abc import Callable, Sequence

from service.catalog import Catalog, Served
from service.errors import (
    BatchyardError,
    DeadlineExceededError,
    EngineFailedError,
    ModelUnavailableError,
    NotFoundError,
    RetryLaterError,
)
from service.telemetry.metrics import Metrics, Outcome
from service.types import InferRequest, InferResponse, ModelInfo

Clock = Callable[[], float]
"""Monotonic seconds."""


class Gateway:
    """Checks a request, chooses what answers it, submits it, and counts the outcome."""

    def __init__(self, catalog: Catalog, metrics: Metrics, clock: Clock) -> None:
        self.clock = clock
        self._catalog = catalog
        self._metrics = metrics

    async def infer(self, request: InferRequest) -> InferResponse:
        """Answers a request; raises `BatchyardError` only. Cancelling the awaiting task drops the work."""
        start = self.clock()
        served = None
        try:
            served = self._catalog.find(request.model, request.version)
            response = await served.replica.infer(await served.intake.check(request))
        except (BatchyardError, CancelledError) as error:
            self._count_failure(request, served, error, self.clock() - start)
            raise
        self._metrics.request_done(response.model, response.version, "success", self.clock() - start)
        self._metrics.queue_wait(response.model, response.version, response.timing.queue)
        if request.outputs:
            response.outputs = {name: response.outputs[name] for name in request.outputs}
        return response

    def _count_failure(
        self, request: InferRequest, served: Served | None, error: BaseException, seconds: float
    ) -> None:
        """Counts it where its answer would have been; where nothing could answer, at the newest version."""
        if served is not None:
            model, _, version = served.replica.name.rpartition(":")
            self._metrics.request_done(model, version, _outcome(error), seconds)
        elif not isinstance(error, NotFoundError):
            newest = self._catalog.info(request.model).versions[-1:]
            self._metrics.request_done(request.model, "".join(newest), _outcome(error), seconds)

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Describes a model or route; raises `NotFoundError`."""
        return self._catalog.info(name, version)

    def models(self) -> Sequence[ModelInfo]:
        """All models and routes, unavailable ones included."""
        return self._catalog.infos()


def _outcome(error: BaseException) -> Outcome:
    """Triton's reason for a failure: nv_inference_request_failure."""
    match error:
        case CancelledError():
            return "CANCELED"
        case RetryLaterError() | DeadlineExceededError() | ModelUnavailableError():
            return "REJECTED"
        case EngineFailedError():
            return "BACKEND"
        case _:
            return "OTHER"
