from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from weakref import ref

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engines.generation import Usage
from service.batching.calibration import Calibration
from service.batching.faults import Faults
from service.batching.record import BatchRecord
from service.batching.ticket import Outlook, Waiting
from service.generating import GenerationTiming
from service.telemetry.histogram import Histogram
from service.telemetry.metrics import Metrics
from service.types import Cached, InferResponse, Prediction, Timing


def _samples(metrics: Metrics) -> Mapping[tuple[str, str, str], float]:
    """(sample name, model, extra label) -> value."""
    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain; version=0.0.4")
    found: dict[tuple[str, str, str], float] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            extra = sample.labels.get("le") or sample.labels.get("reason") or ""
            # The parser ends every counter's name in _total, Triton's included.
            name = sample.name.removesuffix("_total") if sample.name.startswith("nv_") else sample.name
            found[(name, sample.labels.get("model", ""), extra)] = sample.value
    return found


def test_requests_are_counted_by_outcome() -> None:
    metrics = Metrics()
    metrics.request_done("minilm", "1", "success", 0.004)
    metrics.request_done("minilm", "1", "success", 0.006)
    metrics.request_done("minilm", "1", "REJECTED", 9.0)
    samples = _samples(metrics)
    assert samples["nv_inference_request_success", "minilm", ""] == 2
    assert samples["nv_inference_request_failure", "minilm", "REJECTED"] == 1
    assert samples["nv_inference_request_duration_us", "minilm", ""] == pytest.approx(10_000)
    assert samples["batchyard_request_seconds_sum", "minilm", ""] == pytest.approx(0.010)
    assert samples["batchyard_request_seconds_bucket", "minilm", "0.005"] == 1
    assert samples["batchyard_request_seconds_bucket", "minilm", "+Inf"] == 2
    assert samples["batchyard_request_seconds_count", "minilm", ""] == 2


def test_batches_are_counted_in_triton_and_own_names() -> None:
    metrics = Metrics()
    whole = BatchRecord("minilm", "1", requests=3, rows=3, tokens=60, slots=64, compute_seconds=0.01, answered=3)
    metrics.batch_done(whole)
    metrics.batch_done(BatchRecord("minilm", "1", requests=1, rows=1, tokens=16, slots=16, compute_seconds=0.002))
    for _ in range(3):
        metrics.answered(InferResponse("minilm", "1", {}, timing=Timing(compute=0.01)), {}, 0.02)
    metrics.queue_wait("minilm", "1", 0.25)
    samples = _samples(metrics)
    assert samples["nv_inference_count", "minilm", ""] == 3
    assert samples["nv_inference_exec_count", "minilm", ""] == 2
    assert samples["nv_inference_compute_infer_duration_us", "minilm", ""] == pytest.approx(30_000)
    assert samples["nv_inference_queue_duration_us", "minilm", ""] == pytest.approx(250_000)
    assert samples["batchyard_engine_seconds_sum", "minilm", ""] == pytest.approx(0.012)
    assert samples["batchyard_batch_size_sum", "minilm", ""] == 4
    assert samples["batchyard_batch_size_bucket", "minilm", "1.0"] == 1
    assert samples["batchyard_batch_tokens_sum", "minilm", ""] == 76
    assert samples["batchyard_tokens_total", "minilm", ""] == 76
    assert samples["batchyard_padding_tokens_total", "minilm", ""] == 4
    assert samples["batchyard_padding_ratio_bucket", "minilm", "0.0"] == 1
    assert samples["batchyard_padding_ratio_sum", "minilm", ""] == pytest.approx(4 / 64)


def test_pending_is_asked_at_each_scrape() -> None:
    metrics = Metrics()
    queue: list[int] = []
    metrics.watch_pending("minilm", "1", queue.__len__)
    assert _samples(metrics)["nv_inference_pending_request_count", "minilm", ""] == 0
    queue.append(1)
    assert _samples(metrics)["nv_inference_pending_request_count", "minilm", ""] == 1


def test_sequences_are_asked_at_each_scrape() -> None:
    metrics = Metrics()
    metrics.watch_sequences("minilm", "1", lambda: (3, 2))
    samples = _samples(metrics)
    assert samples["batchyard_active_sequences", "minilm", ""] == 3
    assert samples["batchyard_backlog_sequences", "minilm", ""] == 2


def test_what_is_gone_is_let_go() -> None:
    metrics = Metrics()
    ask = partial(Faults)
    known = ref(ask)
    metrics.watch_pending("minilm", "1", lambda: 7)
    metrics.watch_engines("minilm", "1", Calibration(), ask)
    metrics.unwatch("minilm", "1")
    del ask
    assert known() is None
    samples = _samples(metrics)
    assert samples["nv_inference_pending_request_count", "minilm", ""] == 0
    assert ("batchyard_engine_restarts_total", "minilm", "") not in samples
    assert ("batchyard_active_sequences", "minilm", "") not in samples


def test_labels_are_escaped() -> None:
    name = 'a"b\\c\nd} 1\nforged 2'
    metrics = Metrics()
    metrics.request_done(name, "1", "success", 0.1)
    metrics.request_done(name, "1", "OTHER", 0.1)
    samples = _samples(metrics)
    assert samples["nv_inference_request_success", name, ""] == 1
    assert samples["nv_inference_request_failure", name, "OTHER"] == 1
    assert samples["batchyard_request_seconds_count", name, ""] == 1
    assert not any(key[0] == "forged" for key in samples)


def test_counters_carry_tritons_own_names() -> None:
    metrics = Metrics()
    metrics.batch_done(
        BatchRecord("minilm", "1", requests=3, rows=3, tokens=60, slots=64, compute_seconds=0.01, answered=3)
    )
    lines = metrics.exposition()[0].decode().splitlines()
    assert "# TYPE nv_inference_count counter" in lines
    assert 'nv_inference_count{model="minilm",version="1"} 3' in lines


def test_types_are_declared_once_for_every_sample() -> None:
    metrics = Metrics()
    metrics.request_done("minilm", "1", "success", 0.1)
    families = list(text_string_to_metric_families(metrics.exposition()[0].decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert {family.type for family in families if family.samples} <= {"counter", "gauge", "histogram"}


def test_histogram_counts_a_value_on_its_bound_below_it() -> None:
    histogram = Histogram((1, 2))
    for value in (0.5, 1, 1.5, 2, 3):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2), ("2.0", 4), ("+Inf", 5)]
    assert histogram.total == 8


def test_predictions_and_faults_are_asked_at_each_scrape() -> None:
    metrics = Metrics()
    calibration, faults = Calibration(), Faults()
    metrics.watch_engines("minilm", "1", calibration, lambda: faults)
    assert ("batchyard_prediction_calibration", "minilm", "") not in _samples(metrics)
    waiting = Waiting(Future(), [None], 1, 0.0, Outlook(0.0, 0.010, 0), Prediction(0.0, 0.010, 0.015), 0.012)
    late = replace(waiting, actual=0.016)
    calibration.answered([waiting, waiting, late], 0.0)
    faults.restarts, faults.quarantined = 2, 3
    samples = _samples(metrics)
    assert samples["batchyard_predictions_total", "minilm", ""] == 3
    assert samples["batchyard_predictions_within_p95_total", "minilm", ""] == 2
    assert 0.9 < samples["batchyard_prediction_calibration", "minilm", ""] < 0.95
    assert samples["batchyard_engine_restarts_total", "minilm", ""] == 2
    assert samples["batchyard_quarantined_rows", "minilm", ""] == 3


def test_text_that_was_not_generated_took_no_time_of_an_engine() -> None:
    metrics = Metrics()
    for cached in (Cached("miss"), Cached("coalesced"), Cached("hit"), Cached("semantic")):
        metrics.generation_done("echo", "1", GenerationTiming(), Usage(1, 1), 2.0, cached)
    computed = metrics.statistics("echo", "1").compute_infer
    assert (computed.count, computed.ns) == (1, 2_000_000_000)


def test_the_numbers_of_metrics_go_on_where_statistics_begin_anew() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.begin("minilm", "1")
        metrics.batch_done(BatchRecord("minilm", "1", requests=3, rows=3, tokens=6, slots=6, compute_seconds=0.01))
    assert _samples(metrics)["nv_inference_exec_count", "minilm", ""] == 2
    assert metrics.statistics("minilm", "1").execution_count == 1
