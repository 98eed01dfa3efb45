"""The semantic caches of the settings: opened, looked at, closed."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from service.catalog import Catalog
from service.generation_key import GenerationKeys
from service.semantic.cache import Generate, SemanticCache, Surroundings
from service.semantic.reading import Infer
from service.semantic_settings import SemanticSettings
from service.telemetry.metrics import Metrics
from service.telemetry.semantic import SemanticUsage

LOGGER = logging.getLogger("batchyard.semantic")


class Semantics:
    """`caches`: by the name that they answer for. `infer`, `generate`: the gateway's doors."""

    def __init__(
        self,
        settings: Mapping[str, SemanticSettings],
        catalog: Catalog,
        infer: Infer,
        generate: Generate,
        clock: Callable[[], float],
    ) -> None:
        self._keys = GenerationKeys(catalog)
        around = Surroundings(infer, generate, self._keys.of, lambda: catalog.changes, clock, time.time)
        self.caches = {name: SemanticCache(name, one, around) for name, one in settings.items()}

    def watch(self, metrics: Metrics) -> None:
        """Has the metrics tell of them."""
        metrics.semantic.usages = lambda: [_usage(cache) for cache in self.caches.values()]

    def review(self) -> None:
        """Logs which of them can never answer, once all models are open."""
        for name in self.caches:
            if not self._keys.cached(name):
                LOGGER.warning("semantic.%s answers nothing: no model, route or pipeline of this name is cached", name)

    async def close(self) -> None:
        """Ends what they check."""
        await asyncio.gather(*(cache.close() for cache in self.caches.values()))


def _usage(cache: SemanticCache) -> SemanticUsage:
    agreement = cache.agreement
    share, off = agreement.share, agreement.off
    return SemanticUsage(cache.name, cache.hits, len(cache.index), agreement.checks, agreement.agreed, share, off)
