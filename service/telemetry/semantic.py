"""What the semantic caches did, as Prometheus sees it."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class SemanticUsage(NamedTuple):
    """Of the cache of one `name`. `hits`: answers to another question; `entries`: questions that are remembered;
    `checks`: answers that were made anew, and of them `agreed`; `agreement`: the share of the latest; `off`: was it too
    low?"""

    name: str
    hits: int
    entries: int
    checks: int
    agreed: int
    agreement: float
    off: bool


class SemanticCollector(Collector):
    """`usages`: asked at every scrape."""

    def __init__(self) -> None:
        self.usages: Callable[[], Sequence[SemanticUsage]] = tuple

    def collect(self) -> Iterator[Metric]:
        """Nothing where there is no semantic cache."""
        usages = self.usages()
        if not usages:
            return
        hits = CounterMetricFamily("batchyard_semantic_hits", "Answers to a question like it", labels=("name",))
        checks = CounterMetricFamily(
            "batchyard_semantic_checks", "Such answers that were checked", labels=("name", "outcome")
        )
        entries = GaugeMetricFamily("batchyard_semantic_entries", "Questions that are remembered", labels=("name",))
        agreement = GaugeMetricFamily(
            "batchyard_semantic_agreement", "Share of the latest checks that agreed", labels=("name",)
        )
        off = GaugeMetricFamily("batchyard_semantic_off", "1: it turned itself off", labels=("name",))
        for usage in usages:
            hits.add_metric((usage.name,), usage.hits)
            entries.add_metric((usage.name,), usage.entries)
            checks.add_metric((usage.name, "agreed"), usage.agreed)
            checks.add_metric((usage.name, "differed"), usage.checks - usage.agreed)
            agreement.add_metric((usage.name,), usage.agreement)
            off.add_metric((usage.name,), usage.off)
        yield from (hits, checks, entries, agreement, off)
