"""The cache as the settings have it."""

import time

from service.cache.levels import Caching, Kept, Store
from service.cache.memory import Memory
from service.cache_settings import CacheSettings
from service.telemetry.caches import CacheUsage
from service.telemetry.metrics import Metrics

_MIB = 2**20


def open_caching(settings: CacheSettings, metrics: Metrics, store: Store | None = None) -> Caching:
    """Its memory, of which the metrics tell, and the `store` behind it."""
    memory: Memory[Kept] = Memory(settings.memory_mb * _MIB, time.time)
    metrics.caches.usage = lambda: CacheUsage(memory.bytes, len(memory), memory.evictions)
    return Caching(memory, settings.largest_mb * _MIB, settings.ttl_seconds, time.time, store)
