"""What is counted of tenants, and how Prometheus sees it."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class TenantCounters:
    """Called on the event loop. Give it names of tenants that exist only. Since the start of this gateway."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.engine_seconds: dict[str, float] = {}
        self.refusals: Counter[tuple[str, str]] = Counter()

    def admitted(self, tenant: str) -> None:
        """A request may go on."""
        self.requests[tenant] += 1

    def refused(self, tenant: str, reason: str) -> None:
        """A request may not: for its scope, its route, concurrency, or the measure that is used up."""
        self.refusals[(tenant, reason)] += 1

    def used(self, tenant: str, tokens: int, engine_seconds: float) -> None:
        """A request is over, answered or not."""
        self.tokens[tenant] += tokens
        self.engine_seconds[tenant] = self.engine_seconds.get(tenant, 0.0) + engine_seconds


class TenantsCollector(Collector):
    """Turns them into prometheus_client's families at scrape time, on any thread."""

    def __init__(self, counters: TenantCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        counters = self._counters
        families = (
            ("batchyard_tenant_requests", "Requests of a tenant that were admitted", counters.requests),
            ("batchyard_tenant_tokens", "Tokens that a tenant has read and written", counters.tokens),
            ("batchyard_tenant_engine_seconds", "Measured time of engines for a tenant", counters.engine_seconds),
        )
        for name, text, counts in families:
            family = CounterMetricFamily(name, text, labels=("tenant",))
            for tenant, count in list(counts.items()):
                family.add_metric((tenant,), count)
            yield family
        refusals = CounterMetricFamily(
            "batchyard_tenant_refusals", "Requests of a tenant that were refused", labels=("tenant", "reason")
        )
        for key, count in list(counters.refusals.items()):
            refusals.add_metric(key, count)
        yield refusals
