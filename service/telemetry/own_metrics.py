"""The metrics that models count themselves, in Prometheus' text format, under the names that they give."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from engines.python_backend.metrics import Metric, MetricFamily, merged
from service.telemetry.exposition import sample

RESERVED = ("batchyard_", "nv_", "process_")
"""How the gateway's own names begin: a model's metric of such a name is left out, or nobody could read the page."""


@runtime_checkable
class Measuring(Protocol):
    """An engine whose model counts metrics itself."""

    def metrics(self) -> Sequence[MetricFamily]:
        """All, as they are now; any thread may ask."""


def own_lines(engines: Iterable[object]) -> Iterator[str]:
    """The metrics of those engines that have any. What several count by one name and labels is one metric."""
    for family in merged(engine.metrics() for engine in engines if isinstance(engine, Measuring)):
        if not family.name.startswith(RESERVED):
            yield f"# HELP {family.name} {_one_line(family.description)}"
            yield f"# TYPE {family.name} {family.kind}"
            for metric in family.metrics.values():
                yield from _samples(family, metric)


def _samples(family: MetricFamily, metric: Metric) -> Iterator[str]:
    labels = list(metric.labels.items())
    if family.kind != "histogram":
        yield sample(family.name, labels, metric.value)
        return
    below = 0
    for bound, count in zip((*metric.buckets, float("inf")), metric.counts, strict=True):
        below += count
        said = "+Inf" if bound == float("inf") else str(bound)
        yield sample(f"{family.name}_bucket", [*labels, ("le", said)], below)
    yield sample(f"{family.name}_sum", labels, metric.value)
    yield sample(f"{family.name}_count", labels, below)


def _one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
