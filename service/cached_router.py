"""A router that remembers answers: the cache stands in front of the queue, behind the one door."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, NamedTuple

from service.cache.answer import ANSWER_FORM, Answer, answer_of
from service.cache.flights import Flights
from service.cache.levels import BYTES_FORM, Caching, Levels
from service.cached_generations import CachedGenerations, TextCaching
from service.catalog import Catalog
from service.generating import GenerateRequest, Generation
from service.generation_key import GenerationKeys
from service.request_key import RequestKeys
from service.routing.errand import Asked
from service.routing.router import Router
from service.types import DIRECT, Cached, InferRequest, InferResponse, Responses, Routed


class _Landed(NamedTuple):
    """How a flight ended. `response`: of the leader; None where the answer was found, `age` seconds old. `seconds`:
    that storing took."""

    answer: Answer
    response: InferResponse | None
    routed: Routed
    age: float = 0.0
    seconds: float = 0.0


class CachedRouter:
    """In front of a `Router`, with its methods. Used on the event loop only.

    Looked up and stored are the answers of models that say `response_cache`, and of routes that say `cache`: not steps
    of sequences, not streams, no errors, and nothing that a cheaper variant said because there was too much to do.
    """

    def __init__(
        self, router: Router, catalog: Catalog, caching: Caching, texts: TextCaching, clock: Callable[[], float]
    ) -> None:
        self._router = router
        self._catalog = catalog
        self._levels = Levels(caching, ANSWER_FORM)
        self._clock = clock
        self._keys = RequestKeys(catalog)
        self._flights: Flights[_Landed] = Flights(clock)
        text_keys, text_levels = GenerationKeys(catalog), Levels(caching, BYTES_FORM)
        self._generations = CachedGenerations(
            router.generate, text_keys.of, text_levels, texts, clock, lambda: catalog.changes
        )

    def infer(self, request: InferRequest, asked: Asked) -> Coroutine[Any, Any, InferResponse]:
        """See `Router.infer`."""
        if self.caches(request.model) and request.sequence is None and request.hints.cache != "no-store":
            return self._infer(request, asked)
        return self._router.infer(request, asked)

    def stream(self, request: InferRequest, asked: Asked) -> Coroutine[Any, Any, tuple[Responses, Routed]]:
        """See `Router.stream`."""
        return self._router.stream(request, asked)

    def generate(self, request: GenerateRequest, asked: Asked) -> Coroutine[Any, Any, tuple[Generation, Routed]]:
        """See `Router.generate`."""
        return self._generations.generate(request, asked)

    def caches(self, name: str) -> bool:
        """Are answers by this name cached?"""
        route = self._catalog.routes.get(name)
        if route is not None:
            return route.cache
        model = self._catalog.models.get(name)
        return model is not None and model.config is not None and model.config.response_cache

    async def _infer(self, request: InferRequest, asked: Asked) -> InferResponse:
        start, changes = self._clock(), self._catalog.changes
        key = self._keys.of(request)
        if key is None:
            return await self._router.infer(request, asked)
        if request.hints.cache == "no-cache":
            return _told(await self._compute(request, asked, key, start, changes), True)
        kept = self._levels.recall(key)
        if kept is not None:
            return kept[0].response(Cached("hit", kept[1]), self._routed(request))

        async def work() -> _Landed:
            found = await self._levels.fetch(key)
            if found is not None:
                return _Landed(found[0], None, self._routed(request), found[1])
            return await self._compute(request, asked, key, start, changes)

        return _told(*await self._flights.answer((key, request.priority), work, request.deadline))

    async def _compute(self, request: InferRequest, asked: Asked, key: bytes, start: float, changes: int) -> _Landed:
        """`start`: of the looking; `changes`: the catalog's then. What is answered once a model was loaded anew may not
        be what the key says: it is not kept."""
        looked = self._clock()
        response = await self._router.infer(request, asked)
        answered = self._clock()
        answer = answer_of(response, request.outputs)
        if not response.routed.step_down and changes == self._catalog.changes:
            self._levels.put(key, answer, response.timing.engine_seconds or response.timing.compute)
        return _Landed(answer, response, response.routed, seconds=looked - start + self._clock() - answered)

    def _routed(self, request: InferRequest) -> Routed:
        return Routed(request.model) if request.model in self._catalog.routes else DIRECT


def _told(landed: _Landed, led: bool) -> InferResponse:
    """What one of those who waited is told. `led`: it was the one whose request was answered."""
    if landed.response is None:
        return landed.answer.response(Cached("hit", landed.age), landed.routed)
    if led:
        landed.response.cached = Cached("miss", seconds=landed.seconds)
        return landed.response
    return landed.answer.response(Cached("coalesced"), replace(landed.routed, candidates=()))
