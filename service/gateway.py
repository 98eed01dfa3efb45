"""The one door: every protocol calls `Gateway.infer` or `Gateway.generate`."""

from asyncio import CancelledError
from collections.abc import Callable, Sequence

from service.catalog import Catalog, Served
from service.errors import BatchyardError, NotFoundError
from service.generating import GenerateRequest, Generation
from service.outcome import outcome_of
from service.telemetry.metrics import Metrics
from service.types import InferRequest, InferResponse, ModelInfo
from service.watched import WatchedGeneration

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

    async def generate(self, request: GenerateRequest) -> Generation:
        """Accepts a request to generate text; raises `BatchyardError` only, as does reading the answer."""
        start = self.clock()
        served = None
        try:
            served = self._catalog.find(request.model, request.version)
            generation = await served.replica.generate(request)
        except (BatchyardError, CancelledError) as error:
            self._count_failure(request, served, error, self.clock() - start)
            raise
        return WatchedGeneration(generation, start, self.clock, self._metrics)

    def _count_failure(
        self, request: InferRequest | GenerateRequest, served: Served | None, error: BaseException, seconds: float
    ) -> None:
        """Counts it where its answer would have been; where nothing could answer, at the newest version."""
        if served is not None:
            model, _, version = served.replica.name.rpartition(":")
            self._metrics.request_done(model, version, outcome_of(error), seconds)
        elif not isinstance(error, NotFoundError):
            newest = self._catalog.info(request.model).versions[-1:]
            self._metrics.request_done(request.model, "".join(newest), outcome_of(error), seconds)

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Describes a model or route; raises `NotFoundError`."""
        return self._catalog.info(name, version)

    def models(self) -> Sequence[ModelInfo]:
        """All models and routes, unavailable ones included."""
        return self._catalog.infos()
