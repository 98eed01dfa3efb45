"""The metrics that Python models count themselves, as the gateway reads them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from engines.python_backend.messages import Measured, MetricKind

Labels = frozenset[tuple[str, str]]


@dataclass(slots=True)
class Metric:
    """One metric. Of a histogram, `value` is the sum of all that was observed, and `counts` what fell into each of
    `buckets`, upper bounds that ascend, and above the last.
    """

    labels: Mapping[str, str]
    value: float
    counts: Sequence[int] = ()
    buckets: Sequence[float] = ()


@dataclass(slots=True)
class MetricFamily:
    """Metrics of one name."""

    name: str
    description: str
    kind: MetricKind
    metrics: dict[Labels, Metric] = field(default_factory=dict)


class MetricTable:
    """What one instance of a model told of its metrics; used by any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._families: dict[str, MetricFamily] = {}

    def take(self, measured: Measured) -> None:
        """A metric as it is now."""
        new = MetricFamily(measured.family, measured.description, measured.kind)
        with self._lock:
            family = self._families.setdefault(measured.family, new)
            metric = Metric(measured.labels, measured.value, tuple(measured.counts), tuple(measured.buckets))
            family.metrics[frozenset(measured.labels.items())] = metric

    def read(self) -> list[MetricFamily]:
        """A copy of all, as they are now."""
        with self._lock:
            return merged([self._families.values()])


def merged(instances: Iterable[Iterable[MetricFamily]]) -> list[MetricFamily]:
    """The metrics of several instances as one: counters and histograms add up, of gauges the last is taken.

    Where instances differ in a family's kind or a metric's buckets, the first is right and the others are left out.
    """
    found: dict[str, MetricFamily] = {}
    for family in (family for instance in instances for family in instance):
        new = MetricFamily(family.name, family.description, family.kind)
        into = found.setdefault(family.name, new)
        if into.kind == family.kind:
            for labels, metric in family.metrics.items():
                into.metrics[labels] = _sum(into.kind, into.metrics.get(labels), metric)
    return list(found.values())


def _sum(kind: MetricKind, before: Metric | None, metric: Metric) -> Metric:
    if before is None or kind == "gauge":
        return metric
    if before.buckets != metric.buckets:
        return before
    counts = [a + b for a, b in zip(before.counts, metric.counts, strict=True)]
    return Metric(metric.labels, before.value + metric.value, counts, metric.buckets)
