"""The one door: every protocol calls `Gateway.infer` or `Gateway.generate`."""

from asyncio import CancelledError
from collections.abc import Callable, Sequence

from service.catalog import Catalog
from service.errors import BatchyardError, NotFoundError
from service.generating import GenerateRequest, Generation
from service.outcome import outcome_of
from service.routing.errand import Asked
from service.routing.router import Router
from service.routing.served import Served
from service.telemetry.metrics import Metrics
from service.types import InferRequest, InferResponse, ModelInfo, Responses
from service.watched import WatchedGeneration
from service.watched_responses import WatchedResponses

Clock = Callable[[], float]
"""Monotonic seconds."""


class Gateway:
    """Has a request answered by what its name stands for, and counts the outcome, once."""

    def __init__(self, catalog: Catalog, metrics: Metrics, clock: Clock) -> None:
        self.clock = clock
        self._catalog = catalog
        self._metrics = metrics
        self._router = Router(catalog, metrics.routes, clock)
        metrics.routes.breaker_states = catalog.breaker_states

    async def infer(self, request: InferRequest) -> InferResponse:
        """Answers a request; raises `BatchyardError` only. Cancelling the awaiting task drops the work."""
        start = self.clock()
        asked = Asked()
        try:
            response = await self._router.infer(request, asked)
        except (BatchyardError, CancelledError) as error:
            self._count_failure(request, asked.served, error, self.clock() - start)
            raise
        self._metrics.request_done(response.model, response.version, "success", self.clock() - start)
        self._metrics.queue_wait(response.model, response.version, response.timing.queue)
        if request.outputs:
            response.outputs = {name: response.outputs[name] for name in request.outputs}
        return response

    async def stream(self, request: InferRequest) -> Responses:
        """Accepts a request that may have any number of answers; raises `BatchyardError` only, as does reading them."""
        start = self.clock()
        asked = Asked()
        try:
            responses, routed = await self._router.stream(request, asked)
        except (BatchyardError, CancelledError) as error:
            self._count_failure(request, asked.served, error, self.clock() - start)
            raise
        name = asked.served.replica.name if asked.served else request.model
        return WatchedResponses(responses, request.outputs, routed, name, start, self.clock, self._metrics)

    async def generate(self, request: GenerateRequest) -> Generation:
        """Accepts a request to generate text; raises `BatchyardError` only, as does reading the answer."""
        start = self.clock()
        asked = Asked()
        try:
            generation, routed = await self._router.generate(request, asked)
        except (BatchyardError, CancelledError) as error:
            self._count_failure(request, asked.served, error, self.clock() - start)
            raise
        return WatchedGeneration(generation, routed, start, self.clock, self._metrics)

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

    def timeout_of(self, name: str) -> float | None:
        """Seconds that a request to this name may take where it names no deadline; None: nothing is said of it."""
        route = self._catalog.routes.get(name)
        return route.default_timeout if route else None

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Describes a model or route; raises `NotFoundError`."""
        return self._catalog.info(name, version)

    def models(self) -> Sequence[ModelInfo]:
        """All models and routes, unavailable ones included."""
        return self._catalog.infos()
