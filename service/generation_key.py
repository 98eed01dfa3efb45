"""The key by which generated text is found again, and whether there is one: only for what does not depend on chance."""

import struct

from service.cache.call_words import words_of
from service.cache.key import key_of, word
from service.catalog import Catalog
from service.digests import Digests
from service.generating import GenerateRequest
from service.pipelines.pipeline import Pipeline
from service.request_key import looked_field

_KIND = b"text"
_NUMBER = struct.Struct("<d")
_BY_ANOTHER_SERVER = "openai_upstream"
"""The backend whose models know a temperature that nobody here does."""


class GenerationKeys:
    """Used on the event loop only."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._digests = Digests(catalog)

    def of(self, request: GenerateRequest) -> bytes | None:
        """All that changes the answer: who asks, whom, and what, with every option. None where nothing is cached by
        this name, and where the answer depends on chance: the temperature is above 0 and there is no seed."""
        if not self.cached(request.model) or not self._is_settled(request):
            return None
        digest = self._digests.of(request.model, request.version)
        words = words_of(request.call)
        if digest is None or words is None:
            return None
        hints = request.hints
        return key_of(
            (
                _KIND,
                word(hints.tenant.name),
                word(request.model),
                word(request.version),
                digest,
                word(hints.variant),
                _NUMBER.pack(hints.min_quality),
                words,
                looked_field(self._digests.looks(request.model), request),
            )
        )

    def cached(self, name: str) -> bool:
        """Is text by this name remembered?"""
        route = self._catalog.routes.get(name)
        if route is not None:
            return route.cache
        pipeline = self._pipeline(name)
        if pipeline is not None:
            return pipeline.cached
        model = self._catalog.models.get(name)
        return model is not None and model.config is not None and model.config.response_cache

    def _pipeline(self, name: str) -> Pipeline | None:
        served = self._catalog.newest(name)
        return served.replica if served and isinstance(served.replica, Pipeline) else None

    def _is_settled(self, request: GenerateRequest) -> bool:
        options = request.call.options
        if options.seed is not None:
            return True
        return (self._temperature(request.model) if options.temperature is None else options.temperature) == 0

    def _temperature(self, name: str) -> float:
        """Where a caller names none; inf where nobody here knows it."""
        route = self._catalog.routes.get(name)
        if route is not None:
            return max((self._temperature(variant) for variant in route.variants), default=float("inf"))
        pipeline = self._pipeline(name)
        if pipeline is not None:
            return self._temperature(pipeline.parts[0][0])
        model = self._catalog.models.get(name)
        config = model.config if model else None
        if config is None or config.generation is None or config.backend == _BY_ANOTHER_SERVER:
            return float("inf")
        return config.generation.temperature
