"""What the gateway counts, per model version. Called from the event loop and from engine threads."""

from collections.abc import Callable
from threading import Lock
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector

from engines.generation import Usage
from service.batching.calibration import Calibration
from service.batching.faults import Faults
from service.batching.record import BatchRecord
from service.generating import GenerationTiming
from service.telemetry.exposition import CONTENT_TYPE, SeriesCollector, exposition
from service.telemetry.faults import FaultsCollector
from service.telemetry.generations import Generations, GenerationsCollector
from service.telemetry.predictions import PredictionsCollector
from service.telemetry.routes import RouteCounters, RoutesCollector
from service.telemetry.series import Series

Outcome = Literal["success", "REJECTED", "CANCELED", "BACKEND", "OTHER"]
"""How a request ended: answered, or Triton's reason for its failure."""


class Metrics:
    """Counters behind /metrics. Give it names of models that exist only: every name becomes a series for good."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._series: dict[tuple[str, str], Series] = {}
        self._generations: dict[tuple[str, str], Generations] = {}
        self._calibrations: dict[tuple[str, str], Calibration] = {}
        self._faults: dict[tuple[str, str], Callable[[], Faults]] = {}
        self.routes = RouteCounters()
        self._registry = CollectorRegistry()
        self._registry.register(SeriesCollector(self._series))
        self._registry.register(GenerationsCollector(self._generations))
        self._registry.register(PredictionsCollector(self._calibrations))
        self._registry.register(FaultsCollector(self._faults))
        self._registry.register(RoutesCollector(self.routes))
        ProcessCollector(registry=self._registry)

    def request_done(self, model: str, version: str, outcome: Outcome, seconds: float) -> None:
        """One request was answered or refused, `seconds` after it came in."""
        with self._lock:
            series = self._of(model, version)
            if outcome == "success":
                series.request.observe(seconds)
            else:
                series.failures[outcome] = series.failures.get(outcome, 0) + 1

    def queue_wait(self, model: str, version: str, seconds: float) -> None:
        """One part of a request waited `seconds` for its batch."""
        with self._lock:
            self._of(model, version).queue.observe(seconds)

    def batch_done(self, record: BatchRecord) -> None:
        """One batch left the engine; a failed one counts as an execution, but not as inferences."""
        with self._lock:
            series = self._of(record.model, record.version)
            series.executions += 1
            series.engine.observe(record.compute_seconds)
            series.size.observe(record.requests)
            series.tokens.observe(record.tokens)
            padding = record.slots - record.tokens
            series.padding.observe(padding / record.slots if record.slots else 0.0)
            series.padding_tokens += padding
            if not record.failed:
                series.executed += record.rows
                series.compute_seconds += record.compute_seconds * record.requests

    def step_done(self, model: str, version: str, answers: int, seconds: float) -> None:
        """One step of a generator: a batch of as many tokens as answers ran in it."""
        with self._lock:
            series = self._of(model, version)
            series.executions += 1
            series.executed += answers
            series.engine.observe(seconds)
            series.compute_seconds += seconds * answers
            series.size.observe(answers)

    def generation_done(self, model: str, version: str, timing: GenerationTiming, usage: Usage) -> None:
        """One request was answered with generated text."""
        with self._lock:
            self._of(model, version).queue.observe(timing.queue)
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

    def watch_running(self, model: str, version: str, count: Callable[[], int]) -> None:
        """Asks `count` for the answers that this model generates, at every scrape; the last call counts."""
        with self._lock:
            self._of(model, version).running = count

    def exposition(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its content type."""
        with self._lock:
            return exposition(self._registry, self._series), CONTENT_TYPE

    def _of(self, model: str, version: str) -> Series:
        series = self._series.get((model, version))
        if series is None:
            series = self._series[(model, version)] = Series()
        return series
