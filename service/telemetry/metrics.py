"""What the gateway counts, per model version. Called from the event loop and from engine threads."""

import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector

from engines.generation import Usage
from engines.tensor import Tensors
from service.batching.calibration import Calibration
from service.batching.faults import Faults
from service.batching.record import BatchRecord
from service.generating import GenerationTiming
from service.telemetry.caches import CachesCollector
from service.telemetry.exposition import CONTENT_TYPE, SeriesCollector, exposition
from service.telemetry.faults import FaultsCollector
from service.telemetry.generations import Generations, GenerationsCollector
from service.telemetry.own_metrics import own_lines
from service.telemetry.predictions import PredictionsCollector
from service.telemetry.redis import RedisCollector
from service.telemetry.remotes import RemotesCollector
from service.telemetry.routes import RouteCounters, RoutesCollector
from service.telemetry.semantic import SemanticCollector
from service.telemetry.series import Series
from service.telemetry.statistics import ModelStatistics
from service.telemetry.tenants import TenantCounters, TenantsCollector
from service.types import NOT_CACHED, Cached, InferResponse, Timing

Outcome = Literal["success", "REJECTED", "CANCELED", "BACKEND", "OTHER"]
"""How a request ended: answered, or Triton's reason for its failure."""


class Metrics:
    """Counters behind /metrics and Triton's statistics. Give it names of models that exist only: every name becomes a
    series for good. `now`: seconds since 1970."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = Lock()
        self._alone: dict[tuple[str, str], bool] = {}
        self._series: dict[tuple[str, str], Series] = {}
        self._generations: dict[tuple[str, str], Generations] = {}
        self._calibrations: dict[tuple[str, str], Calibration] = {}
        self._faults: dict[tuple[str, str], Callable[[], Faults]] = {}
        self._engines: dict[tuple[str, str], Callable[[], Sequence[object]]] = {}
        self.routes = RouteCounters()
        self.remotes = RemotesCollector()
        self.tenants = TenantCounters()
        self.redis = RedisCollector()
        self.caches = CachesCollector(self._series)
        self.semantic = SemanticCollector()
        self._registry = CollectorRegistry()
        self._registry.register(SeriesCollector(self._series))
        self._registry.register(GenerationsCollector(self._generations))
        self._registry.register(PredictionsCollector(self._calibrations))
        self._registry.register(FaultsCollector(self._faults))
        self._registry.register(RoutesCollector(self.routes))
        self._registry.register(TenantsCollector(self.tenants))
        self._registry.register(self.remotes)
        self._registry.register(self.redis)
        self._registry.register(self.caches)
        self._registry.register(self.semantic)
        ProcessCollector(registry=self._registry)

    def request_done(self, model: str, version: str, outcome: Outcome, seconds: float) -> None:
        """One request was answered or refused, `seconds` after it came in."""
        with self._lock:
            series = self._of(model, version)
            if outcome == "success":
                series.request.observe(seconds)
                return
            series.failures[outcome] = series.failures.get(outcome, 0) + 1
            if outcome != "OTHER":  # Triton counts no request that is at fault itself
                series.tally.failed(seconds)

    def answered(self, response: InferResponse, inputs: Tensors, seconds: float) -> None:
        """One request for `inputs` was answered, `seconds` after it came in; of several answers, with the last one."""
        key = response.model, response.version
        timing = response.timing
        with self._lock:
            series = self._of(*key)
            series.request.observe(seconds)
            if response.cached.verdict:
                series.tally.looked(response.cached, seconds)
                if response.cached.verdict != "miss":
                    series.tally.answered(timing, seconds)
                    return
            series.queue.observe(timing.queue)
            if key in self._alone:
                timing = Timing(compute=timing.compute, input=timing.input, output=timing.output)
                rows = len(next(iter(inputs.values()))) if self._alone[key] else 1
                series.tally.executed(rows, rows, timing, round(self._now() * 1000))
            series.tally.answered(timing, seconds)

    def counts_alone(self, model: str, version: str, batched: bool) -> None:
        """Nobody tells of batches of this model: each of its requests counts as one that waited for nothing.

        `batched`: do its tensors have a batch dimension?
        """
        with self._lock:
            self._alone[model, version] = batched

    def queue_wait(self, model: str, version: str, seconds: float) -> None:
        """One part of a request waited `seconds` for its batch."""
        with self._lock:
            self._of(model, version).queue.observe(seconds)

    def batch_done(self, record: BatchRecord) -> None:
        """One batch left the engine; a failed one counts as an execution, but not as inferences."""
        with self._lock:
            series = self._of(record.model, record.version)
            timing = Timing(compute=record.compute_seconds, input=record.input_seconds, output=record.output_seconds)
            series.tally.executed(record.rows, record.answered, timing, round(self._now() * 1000))
            series.engine.observe(record.compute_seconds)
            series.size.observe(record.requests)
            series.tokens.observe(record.tokens)
            padding = record.slots - record.tokens
            series.padding.observe(padding / record.slots if record.slots else 0.0)
            series.padding_tokens += padding

    def step_done(self, model: str, version: str, answers: int, seconds: float) -> None:
        """One step of a generator: a batch of as many tokens as answers ran in it."""
        with self._lock:
            series = self._of(model, version)
            series.engine.observe(seconds)
            series.size.observe(answers)
            series.tally.executed(answers, answers, Timing(compute=seconds), round(self._now() * 1000))

    def generation_done(
        self,
        model: str,
        version: str,
        timing: GenerationTiming,
        usage: Usage,
        seconds: float = 0.0,
        cached: Cached = NOT_CACHED,
    ) -> None:
        """One request was answered with generated text, `seconds` after it came in. What was not generated for it is no
        part of how generation goes."""
        with self._lock:
            series = self._of(model, version)
            series.tally.looked(cached, seconds)
            if cached.verdict not in ("", "miss"):
                series.tally.answered(Timing(), seconds)
                return
            series.tally.answered(Timing(timing.queue, max(0.0, seconds - timing.queue)), seconds)
            series.queue.observe(timing.queue)
            generations = self._generations.get((model, version))
            if generations is None:
                generations = self._generations[(model, version)] = Generations()
            generations.first_token.observe(timing.first_token)
            if usage.completion_tokens > 1:
                generations.per_token.observe(timing.per_token)
            generations.prompt_tokens.observe(usage.prompt_tokens)
            generations.completion_tokens.observe(usage.completion_tokens)
            generations.cached_tokens += usage.cached_tokens

    def watch_pending(self, model: str, version: str, count: Callable[[], int]) -> None:
        """Asks `count` for the parts waiting in this model's queue, at every scrape; the last call counts."""
        with self._lock:
            self._of(model, version).pending = count

    def watch_engines(self, model: str, version: str, calibration: Calibration, faults: Callable[[], Faults]) -> None:
        """Asks how well this model's answers are predicted, and what went wrong, at every scrape."""
        with self._lock:
            self._calibrations[model, version] = calibration
            self._faults[model, version] = faults

    def watch_own(self, model: str, version: str, engines: Callable[[], Sequence[object]]) -> None:
        """Asks what this model's `engines` count themselves, at every scrape; the last call counts."""
        with self._lock:
            self._engines[model, version] = engines

    def watch_running(self, model: str, version: str, count: Callable[[], int]) -> None:
        """Asks `count` for the answers that this model generates, at every scrape; the last call counts."""
        with self._lock:
            self._of(model, version).running = count

    def watch_sequences(self, model: str, version: str, counts: Callable[[], tuple[int, int]]) -> None:
        """Asks `counts` for the sequences of this model that have a slot, and that wait for one, at every scrape."""
        with self._lock:
            self._of(model, version).sequences = counts

    def unwatch(self, model: str, version: str) -> None:
        """Lets go of what was asked at every scrape: nothing waits or runs any more."""
        with self._lock:
            series = self._of(model, version)
            series.pending = series.pending and (lambda: 0)
            series.running = series.running and (lambda: 0)
            series.sequences = series.sequences and (lambda: (0, 0))
            for asked in (self._calibrations, self._faults, self._engines):
                asked.pop((model, version), None)

    def exposition(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its content type."""
        with self._lock:
            engines = [engine for ask in self._engines.values() for engine in ask()]
            return exposition(self._registry, self._series, own_lines(engines)), CONTENT_TYPE

    def statistics(self, model: str, version: str) -> ModelStatistics:
        """What Triton's statistics extension tells of a version of a model."""
        with self._lock:
            return self._of(model, version).tally.told(model, version)

    def begin(self, model: str, version: str) -> None:
        """A version is served from now on: its statistics begin anew, as in Triton; the numbers of /metrics go on."""
        with self._lock:
            self._of(model, version).begin()
            self._alone.pop((model, version), None)

    def _of(self, model: str, version: str) -> Series:
        series = self._series.get((model, version))
        if series is None:
            series = self._series[(model, version)] = Series()
        return series
