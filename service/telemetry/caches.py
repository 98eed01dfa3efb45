"""What the cache of answers did, as Prometheus sees it."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.telemetry.series import Series
from service.telemetry.tally import Tally


class CacheUsage(NamedTuple):
    """`bytes` and `entries`: held now. `evictions`: entries that made room for others, ever."""

    bytes: int = 0
    entries: int = 0
    evictions: int = 0


class CachesCollector(Collector):
    """`usage`: asked at every scrape."""

    def __init__(self, series: Mapping[tuple[str, str], Series]) -> None:
        self.usage: Callable[[], CacheUsage] = CacheUsage
        self._series = series

    def collect(self) -> Iterator[Metric]:
        families: tuple[tuple[str, str, Callable[[Tally], int]], ...] = (
            ("batchyard_cache_hits", "Requests whose answer the cache had", lambda t: t.hits),
            ("batchyard_cache_misses", "Requests whose answer was computed and stored", lambda t: t.misses),
            ("batchyard_cache_coalesced", "Requests that joined an equal one", lambda t: t.coalesced),
        )
        for name, text, count_of in families:
            family = CounterMetricFamily(name, text, labels=("model", "version"))
            for key, series in self._series.items():
                family.add_metric(key, series.ever(count_of))
            yield family
        usage = self.usage()
        yield GaugeMetricFamily("batchyard_cache_bytes", "Memory that cached answers take", usage.bytes)
        yield GaugeMetricFamily("batchyard_cache_entries", "Cached answers in memory", usage.entries)
        yield CounterMetricFamily("batchyard_cache_evictions", "Cached answers that made room", usage.evictions)
