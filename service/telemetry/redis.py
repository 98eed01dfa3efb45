"""The Redis that gateways share, as Prometheus sees it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.redis_link.counts import Counts


class RedisCollector(Collector):
    """Reads at scrape time, on any thread. `counts` is set by whoever has a Redis; without one there are no metrics."""

    def __init__(self) -> None:
        self.counts: Counts | None = None

    def collect(self) -> Iterator[Metric]:
        counts = self.counts
        if counts is None:
            return
        yield GaugeMetricFamily("batchyard_redis_up", "1 while Redis is asked, else 0", counts.up)
        yield GaugeMetricFamily("batchyard_redis_writable", "0 while Redis refuses to store", counts.writable)
        text = "Commands for Redis"
        yield _counter("commands", text, ("command",), {(kind,): n for kind, n in counts.commands.copy().items()})
        labels = ("command", "reason")
        text = "Commands that came to nothing: late, lost with the connection, refused, wrong answer"
        yield _counter("failures", text, labels, counts.failures.copy())
        text = "Commands never sent: Redis is away, too much waits, it stores nothing"
        yield _counter("dropped", text, labels, counts.drops.copy())
        seconds = HistogramMetricFamily("batchyard_redis_seconds", "Time until Redis answered a command")
        seconds.add_metric((), counts.seconds.buckets(), counts.seconds.total)
        yield seconds


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(f"batchyard_redis_{name}", text, labels=labels)
    for found, value in values.items():
        family.add_metric(found, value)
    return family
