"""The one door: every protocol calls `Gateway.infer` or `Gateway.generate`."""

from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from service.access.billing import Billing
from service.cache.levels import Caching
from service.cached_generations import DEFAULT_TEXTS, TextCaching
from service.cached_router import CachedRouter
from service.catalog import Catalog
from service.errors import BatchyardError, ModelUnavailableError, NotFoundError
from service.generating import GenerateRequest, Generation
from service.outcome import outcome_of
from service.routing.errand import Asked
from service.routing.router import Router
from service.routing.served import Served
from service.telemetry.metrics import Metrics
from service.telemetry.statistics import ModelStatistics
from service.telemetry.tracing import Tracing
from service.together import together
from service.types import InferRequest, InferResponse, ModelInfo, Responses
from service.watched import WatchedGeneration
from service.watched_responses import WatchedResponses

Clock = Callable[[], float]
"""Monotonic seconds."""


class Gateway:
    """Has a request answered by what its name stands for, and counts the outcome, once. `tracing`, `caching`: None,
    none. `texts`: how cached text is told. `billing`: admits calls and has them paid; None: nobody pays."""

    def __init__(
        self,
        catalog: Catalog,
        metrics: Metrics,
        clock: Clock,
        tracing: Tracing | None = None,
        caching: Caching | None = None,
        texts: TextCaching = DEFAULT_TEXTS,
        billing: Billing | None = None,
    ) -> None:
        self.clock = clock
        self._tracing = tracing or Tracing()
        self._billing = billing
        self._catalog = catalog
        self._metrics = metrics
        router = Router(catalog, metrics.routes, clock)
        cached = CachedRouter(router, catalog, caching, texts, clock) if caching else None
        self._router: Router | CachedRouter = cached or router
        self._caches = cached.caches if cached else None
        metrics.routes.breaker_states = catalog.breaker_states

    def infer(self, request: InferRequest) -> Coroutine[Any, Any, InferResponse]:
        """Answers a request; raises `BatchyardError` only. Cancelling the awaiting task drops the work."""
        if self._billing is None:
            return self._infer_traced(request)
        return self._billing.infer(request, self._infer_traced)

    async def infer_all(self, requests: Sequence[InferRequest]) -> Sequence[InferResponse]:
        """Answers the parts of one call at once, in order; when one fails the others are cancelled."""
        if len(requests) == 1:
            return (await self.infer(requests[0]),)
        if self._billing is None:
            return await together(map(self._infer_traced, requests))
        return await self._billing.infer_all(requests, self._infer_traced)

    def _infer_traced(self, request: InferRequest) -> Coroutine[Any, Any, InferResponse]:
        if self._tracing.on:
            return self._tracing.infer(request, self._infer, self.clock)
        return self._infer(request)

    async def _infer(self, request: InferRequest) -> InferResponse:
        start = self.clock()
        asked = Asked()
        try:
            response = await self._router.infer(request, asked)
        except (BatchyardError, CancelledError) as error:
            self._count_failure(request, asked.served, error, self.clock() - start)
            raise
        self._metrics.answered(response, request.inputs, self.clock() - start)
        if request.outputs:
            found = response.outputs
            response.outputs = {name: array for name, array in found.items() if name in request.outputs}
        return response

    def stream(self, request: InferRequest) -> Coroutine[Any, Any, Responses]:
        """Accepts a request that may have any number of answers; raises `BatchyardError` only, as does reading them."""
        if self._billing is None:
            return self._stream_traced(request)
        return self._billing.stream(request, self._stream_traced)

    def _stream_traced(self, request: InferRequest) -> Coroutine[Any, Any, Responses]:
        if self._tracing.on:
            return self._tracing.stream(request, self._stream, self.clock)
        return self._stream(request)

    async def _stream(self, request: InferRequest) -> Responses:
        start = self.clock()
        asked = Asked()
        try:
            responses, routed = await self._router.stream(request, asked)
        except (BatchyardError, CancelledError) as error:
            self._count_failure(request, asked.served, error, self.clock() - start)
            raise
        name = asked.served.replica.name if asked.served else request.model
        return WatchedResponses(responses, request, routed, name, start, self.clock, self._metrics)

    def generate(self, request: GenerateRequest) -> Coroutine[Any, Any, Generation]:
        """Accepts a request to generate text; raises `BatchyardError` only, as does reading the answer."""
        billing = self._billing
        return self._generate(request) if billing is None else billing.generate(request, self._generate)

    async def _generate(self, request: GenerateRequest) -> Generation:
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

    def caches(self, name: str) -> bool:
        """Are answers of tensors by this name cached?"""
        return self._caches is not None and self._caches(name)

    def timeout_of(self, name: str) -> float | None:
        """Seconds that a request to this name may take where it names no deadline; None: nothing is said of it."""
        route = self._catalog.routes.get(name)
        return route.default_timeout if route else None

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Describes a model or route; raises `NotFoundError`."""
        return self._catalog.info(name, version)

    def statistics(self, name: str = "", version: str = "") -> Sequence[ModelStatistics]:
        """What Triton's statistics extension tells: of all that is open, of a model's versions or one of them, or of a
        route's variants. Raises `NotFoundError`, `ModelUnavailableError`."""
        if not name:
            infos = [info for info in self._catalog.infos() if not info.variants]
            return [self._metrics.statistics(info.name, one) for info in infos for one in info.versions]
        info = self._catalog.info(name, version)
        if info.variants:
            return [found for variant in info.variants for found in self.statistics(variant)]
        versions = [one for one in info.versions if version in ("", one)]
        if not versions:
            said = f"requested model '{name}' is not available"
            raise ModelUnavailableError(f"model {name!r} is unavailable: {info.reason}").as_triton(said)
        return [self._metrics.statistics(name, one) for one in versions]

    def models(self) -> Sequence[ModelInfo]:
        """All models and routes, unavailable ones included."""
        return self._catalog.infos()
