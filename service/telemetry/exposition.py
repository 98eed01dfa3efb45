"""The counted series as Prometheus metrics: Triton's counters under Triton's names, histograms under ours."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.telemetry.histogram import Histogram
from service.telemetry.series import Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Key = tuple[str, str]
"""Model and version."""

LABELS = ("model", "version")

_HISTOGRAMS: Mapping[str, tuple[str, Callable[[Series], Histogram]]] = {
    "batchyard_request_seconds": ("Time of answered requests, end to end", lambda s: s.request),
    "batchyard_queue_seconds": ("Time that parts of requests waited for their batch", lambda s: s.queue),
    "batchyard_engine_seconds": ("Time of engine runs", lambda s: s.engine),
    "batchyard_batch_size": ("Parts of requests (one a text) in a batch", lambda s: s.size),
    "batchyard_batch_tokens": ("Cost of a batch: tokens for text, rows otherwise", lambda s: s.tokens),
    "batchyard_padding_ratio": ("Share of a batch that was padding", lambda s: s.padding),
}
FAILURES = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
"""Triton's reasons for the failure of a request, each with a line whether it happened or not."""
_TRITON: Mapping[str, tuple[str, Callable[[Series], float]]] = {
    "nv_inference_request_success": ("Number of answered requests", lambda s: s.answered),
    "nv_inference_count": ("Number of inferences performed, one a text", lambda s: s.ever(lambda t: t.rows)),
    "nv_inference_exec_count": ("Number of batches run", lambda s: s.ever(lambda t: t.executions)),
    "nv_inference_request_duration_us": ("Cumulative time of requests, microseconds", lambda s: s.request.total * 1e6),
    "nv_inference_queue_duration_us": ("Cumulative time of waiting, microseconds", lambda s: s.queue.total * 1e6),
    "nv_inference_compute_input_duration_us": (
        "Cumulative time of laying out batches, microseconds",
        lambda s: s.ever(lambda t: t.input) * 1e6,
    ),
    "nv_inference_compute_infer_duration_us": (
        "Cumulative time of computing, microseconds",
        lambda s: s.ever(lambda t: t.infer) * 1e6,
    ),
    "nv_inference_compute_output_duration_us": (
        "Cumulative time of taking batches apart, microseconds",
        lambda s: s.ever(lambda t: t.output) * 1e6,
    ),
    "nv_cache_num_hits_per_model": ("Answers that the cache had", lambda s: s.ever(lambda t: t.hits)),
    "nv_cache_num_misses_per_model": ("Answers that the cache had not", lambda s: s.ever(lambda t: t.misses)),
    "nv_cache_hit_duration_per_model": (
        "Cumulative time of requests that the cache answered, microseconds",
        lambda s: s.ever(lambda t: t.hit_seconds) * 1e6,
    ),
    "nv_cache_miss_duration_per_model": (
        "Cumulative time of looking and storing for all others, microseconds",
        lambda s: s.ever(lambda t: t.miss_seconds) * 1e6,
    ),
}


class SeriesCollector(Collector):
    """Turns series into prometheus_client's families at scrape time. The caller holds the lock."""

    def __init__(self, series: Mapping[Key, Series]) -> None:
        self._series = series

    def collect(self) -> Iterator[Metric]:
        for name, (text, histogram_of) in _HISTOGRAMS.items():
            family = HistogramMetricFamily(name, text, labels=LABELS)
            for key, series in self._series.items():
                histogram = histogram_of(series)
                family.add_metric(key, histogram.buckets(), histogram.total)
            yield family
        tokens = CounterMetricFamily("batchyard_tokens", "Cost of all batches, padding not counted", labels=LABELS)
        padding = CounterMetricFamily("batchyard_padding_tokens", "Padding of all batches", labels=LABELS)
        for key, series in self._series.items():
            tokens.add_metric(key, series.tokens.total)
            padding.add_metric(key, series.padding_tokens)
        yield tokens
        yield padding
        pending = GaugeMetricFamily("nv_inference_pending_request_count", "Parts of requests waiting", labels=LABELS)
        running = GaugeMetricFamily("batchyard_running_answers", "Answers being generated", labels=LABELS)
        active = GaugeMetricFamily("batchyard_active_sequences", "Sequences that have a slot", labels=LABELS)
        backlog = GaugeMetricFamily("batchyard_backlog_sequences", "Sequences that wait for a slot", labels=LABELS)
        for key, series in self._series.items():
            if series.pending is not None:
                pending.add_metric(key, series.pending())
            if series.running is not None:
                running.add_metric(key, series.running())
            if series.sequences is not None:
                counts = series.sequences()
                active.add_metric(key, counts[0])
                backlog.add_metric(key, counts[1])
        yield from (pending, running, active, backlog)


def exposition(registry: CollectorRegistry, series: Mapping[Key, Series], own: Iterable[str] = ()) -> bytes:
    """All metrics in text format; `own`: the lines of those that models count themselves.

    Triton's counters are written here: prometheus_client ends the name of every counter in `_total`, Triton does not.
    """
    lines: list[str] = []
    for name, (text, value_of) in _TRITON.items():
        samples = (sample(name, zip(LABELS, key, strict=True), value_of(one)) for key, one in series.items())
        lines += [f"# HELP {name} {text}", f"# TYPE {name} counter", *samples]
    name = "nv_inference_request_failure"
    lines += [f"# HELP {name} Number of failed requests by reason", f"# TYPE {name} counter"]
    for (model, version), one in series.items():
        for reason in FAILURES:
            labels = (("model", model), ("version", version), ("reason", reason))
            lines.append(sample(name, labels, one.failures.get(reason, 0)))
    return generate_latest(registry) + "\n".join([*lines, *own, ""]).encode()


def sample(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    """One line of the text format."""
    text = ",".join(f'{label}="{_escape(content)}"' for label, content in labels)
    return f"{name}{{{text}}} {value}"


def _escape(content: str) -> str:
    return content.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
