"""What went wrong with the engines of one version of one model, as Prometheus sees it."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.batching.faults import Faults

Key = tuple[str, str]
LABELS = ("model", "version")
_COUNTERS: Mapping[str, tuple[str, Callable[[Faults], int]]] = {
    "batchyard_engine_restarts": ("Engines that were lost and opened anew", lambda f: f.restarts),
    "batchyard_poison_rows": ("Rows found to make every batch fail that holds them", lambda f: f.poison),
    "batchyard_batch_splits": ("Batches cut in two to find the rows at fault", lambda f: f.splits),
    "batchyard_memory_errors": ("Batches that did not fit into the device's memory", lambda f: f.memory_errors),
}


class FaultsCollector(Collector):
    """Asks each model at scrape time. The caller holds the lock."""

    def __init__(self, faults: Mapping[Key, Callable[[], Faults]]) -> None:
        self._faults = faults

    def collect(self) -> Iterator[Metric]:
        found = {key: ask() for key, ask in self._faults.items()}
        for name, (text, count_of) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=LABELS)
            for key, one in found.items():
                counter.add_metric(key, count_of(one))
            yield counter
        rows = GaugeMetricFamily(
            "batchyard_quarantined_rows", "Rows that are refused now, since they made batches fail", labels=LABELS
        )
        for key, one in found.items():
            rows.add_metric(key, one.quarantined)
        yield rows
