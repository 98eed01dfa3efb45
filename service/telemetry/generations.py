"""What is counted of generated text, for one version of one model, and how Prometheus sees it."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.telemetry.histogram import Histogram
from service.telemetry.series import SECONDS, TOKENS

Key = tuple[str, str]
LABELS = ("model", "version")
_STEPS = tuple(
    ms / 1000 for ms in (1, 2, 3, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000, 2500)
)


class Generations:
    """Answered requests only. Times in seconds."""

    __slots__ = ("cached_tokens", "completion_tokens", "first_token", "per_token", "prompt_tokens")

    def __init__(self) -> None:
        self.first_token = Histogram(SECONDS)
        self.per_token = Histogram(_STEPS)
        self.prompt_tokens = Histogram(TOKENS)
        self.completion_tokens = Histogram(TOKENS)
        self.cached_tokens = 0


class GenerationsCollector(Collector):
    """Turns them into prometheus_client's families at scrape time. The caller holds the lock."""

    def __init__(self, generations: Mapping[Key, Generations]) -> None:
        self._generations = generations

    def collect(self) -> Iterator[Metric]:
        histograms = (
            ("batchyard_time_to_first_token_seconds", "Time to the first token, queue included", "first_token"),
            ("batchyard_time_per_output_token_seconds", "Mean time between tokens of an answer", "per_token"),
            ("batchyard_prompt_tokens", "Tokens of the prompts of a request", "prompt_tokens"),
            ("batchyard_generation_tokens", "Tokens of the answers of a request", "completion_tokens"),
        )
        for name, text, field in histograms:
            family = HistogramMetricFamily(name, text, labels=LABELS)
            for key, one in self._generations.items():
                histogram: Histogram = getattr(one, field)
                family.add_metric(key, histogram.buckets(), histogram.total)
            yield family
        hits = CounterMetricFamily(
            "batchyard_prefix_cache_hit_tokens", "Prompt tokens that the prefix cache had", labels=LABELS
        )
        for key, one in self._generations.items():
            hits.add_metric(key, one.cached_tokens)
        yield hits
