"""The servers that other servers' models are asked of, as Prometheus sees them."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.remote.endpoint import Endpoint

Endpoints = Callable[[], Iterable[tuple[str, str, Endpoint]]]
"""Model, version and server, of all."""

LABELS = ("model", "version", "endpoint")
_GAUGES: Mapping[str, tuple[str, Callable[[Endpoint], float]]] = {
    "batchyard_endpoint_up": ("1 while the server is given requests, else 0", lambda one: one.up),
    "batchyard_endpoint_in_flight": ("Requests that the server has now", lambda one: one.in_flight),
    "batchyard_endpoint_predicted_seconds": (
        "Time in which one more request is thought to be answered there",
        lambda one: one.latency.predict(one.in_flight + 1),
    ),
}
_COUNTERS: Mapping[str, tuple[str, Callable[[Endpoint], float]]] = {
    "batchyard_endpoint_requests": ("Requests that the server was given", lambda one: one.asked),
    "batchyard_endpoint_ejections": ("Times that it was no longer given requests", lambda one: one.ejections),
    "batchyard_endpoint_retries": ("Requests it was lost with, to be tried elsewhere", lambda one: one.retries),
}


class RemotesCollector(Collector):
    """Asks at scrape time, on any thread. `endpoints` is set by whoever knows them."""

    def __init__(self) -> None:
        self.endpoints: Endpoints = lambda: ()

    def collect(self) -> Iterator[Metric]:
        found = list(self.endpoints())
        for name, (text, value_of) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=LABELS)
            for model, version, one in found:
                gauge.add_metric((model, version, one.url), value_of(one))
            yield gauge
        for name, (text, value_of) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=LABELS)
            for model, version, one in found:
                counter.add_metric((model, version, one.url), value_of(one))
            yield counter
