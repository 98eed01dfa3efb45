"""What is counted of routes, and how Prometheus sees it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BreakerStates = Callable[[], Iterable[tuple[str, str, int]]]
"""Model, version and state (0 closed, 1 half-open, 2 open) of all breakers."""


def _no_states() -> Iterable[tuple[str, str, int]]:
    return ()


class RouteCounters:
    """Called on the event loop. Give it names of routes and variants that exist only."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.step_downs: Counter[tuple[str, str]] = Counter()
        self.retries: Counter[tuple[str, str]] = Counter()
        self.hedges: Counter[tuple[str, str]] = Counter()
        self.breaker_states: BreakerStates = _no_states

    def answered(self, route: str, variant: str, stepped_down: bool) -> None:
        """A variant answered, or began to; `stepped_down`: because none of more quality could."""
        self.requests[(route, variant)] += 1
        if stepped_down:
            self.step_downs[(route, variant)] += 1

    def retried(self, route: str, outcome: str) -> None:
        """A request failed, and what its second try came to: answered, failed, refused, or no_budget."""
        self.retries[(route, outcome)] += 1

    def hedged(self, route: str, won: bool) -> None:
        """A second variant was asked; `won`: it was first."""
        self.hedges[(route, str(won).lower())] += 1


class RoutesCollector(Collector):
    """Turns them into prometheus_client's families at scrape time, on any thread."""

    def __init__(self, counters: RouteCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        counters = self._counters
        families = (
            ("batchyard_route_requests", "Requests that a variant of a route answered", "variant", counters.requests),
            ("batchyard_retries", "Failed requests by what their second try came to", "outcome", counters.retries),
            ("batchyard_hedges", "Requests for which a second variant was asked", "won", counters.hedges),
            ("batchyard_step_downs", "Requests that a cheaper variant answered", "variant", counters.step_downs),
        )
        for name, text, label, counts in families:
            family = CounterMetricFamily(name, text, labels=("route", label))
            for key, count in list(counts.items()):
                family.add_metric(key, count)
            yield family
        states = GaugeMetricFamily(
            "batchyard_breaker_state", "0 closed, 1 half-open, 2 open", labels=("model", "version")
        )
        for model, version, state in counters.breaker_states():
            states.add_metric((model, version), state)
        yield states
