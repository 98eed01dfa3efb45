"""Metrics of a model's own."""

import logging

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engines.python_backend.messages import Measured
from engines.python_backend.metrics import Metric, MetricFamily, MetricTable, merged
from service.telemetry.own_metrics import own_lines
from tests.engines.python_backend.calling import call, outputs
from tests.engines.python_backend.conftest import Opener


class _Engine:
    def __init__(self, table: MetricTable) -> None:
        self.metrics = table.read


def test_metrics_are_as_the_model_counts_them(models: Opener) -> None:
    engine = models.start("counting")
    for count, value in enumerate((0.5, 1.0, 2.0, 9.0), 1):
        assert outputs(engine, call({"X": np.array([value], np.float32)}))["Y"] == [count]
    found = {family.name: family for family in engine.metrics()}
    assert list(found) == ["seen", "last", "values"]
    assert [(family.kind, family.description) for family in found.values()] == [
        ("counter", "Requests"),
        ("gauge", "Last value"),
        ("histogram", "Values"),
    ]
    assert list(found["seen"].metrics.values()) == [Metric({"model": "counting"}, 4.0, ())]
    assert list(found["last"].metrics.values()) == [Metric({"a": 'quo"te\n'}, 9.0, ())]
    assert list(found["values"].metrics.values()) == [
        Metric({}, 12.5, (2, 1, 1), (1.0, 2.5)),
        Metric({"of": "other buckets"}, 0.0, (0, 0), (3.0,)),
    ]


def test_what_no_metric_can_do_is_refused_in_the_model(models: Opener, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    models.start("counting", refuse="yes").close()
    words = (
        "a COUNTER never decreases",
        "a COUNTER does not support it",
        "a GAUGE does not support it",
        "a HISTOGRAM does not support it",
        "'seen' is a COUNTER already",
        "'a b' is no name",
        "do not ascend",
        "a HISTOGRAM needs buckets",
        "is no label",
        "[nan] do not ascend",
        "the label 'le'",
    )
    assert len(caplog.messages) == len(words)
    for message, wanted in zip(caplog.messages, words, strict=True):
        assert wanted in message


def test_instances_are_added_up() -> None:
    tables = [MetricTable(), MetricTable()]
    for table, value in zip(tables, (1.0, 2.0), strict=True):
        table.take(Measured("c", "", "counter", {"a": "b"}, value))
        table.take(Measured("g", "", "gauge", {}, value))
        table.take(Measured("h", "", "histogram", {}, value, [1.0], [1, int(value)]))
    tables[1].take(Measured("c", "", "counter", {"a": "c"}, 5.0))
    found = {family.name: list(family.metrics.values()) for family in merged(table.read() for table in tables)}
    assert found == {
        "c": [Metric({"a": "b"}, 3.0, []), Metric({"a": "c"}, 5.0, ())],
        "g": [Metric({}, 2.0, ())],
        "h": [Metric({}, 3.0, [2, 3], (1.0,))],
    }


def test_instances_that_differ_are_not_mixed() -> None:
    first, other = MetricFamily("m", "", "counter"), MetricFamily("m", "", "gauge")
    other.metrics[frozenset()] = Metric({}, 1.0)
    assert merged([[first], [other]]) == [first]
    tables = [MetricTable(), MetricTable()]
    tables[0].take(Measured("h", "", "histogram", {}, 1.0, [1.0], [1, 0]))
    tables[1].take(Measured("h", "", "histogram", {}, 1.0, [1.0, 2.0], [1, 0, 0]))
    assert merged(table.read() for table in tables) == tables[0].read()


def test_the_page_has_every_metric_with_its_own_buckets() -> None:
    table = MetricTable()
    table.take(Measured("h", "", "histogram", {"a": "1"}, 1.5, [1.0], [1, 2]))
    table.take(Measured("h", "", "histogram", {"a": "2"}, 2.5, [1.0, 2.0], [1, 0, 1]))
    (family,) = text_string_to_metric_families("\n".join(own_lines([_Engine(table)])))
    buckets = [(s.labels["a"], s.labels["le"], s.value) for s in family.samples if s.name == "h_bucket"]
    assert buckets == [
        ("1", "1.0", 1), ("1", "+Inf", 3), ("2", "1.0", 1), ("2", "2.0", 1), ("2", "+Inf", 2)
    ]  # fmt: skip


def test_what_was_read_does_not_change() -> None:
    table = MetricTable()
    table.take(Measured("c", "", "counter", {}, 1.0))
    read = table.read()
    table.take(Measured("c", "", "counter", {}, 2.0))
    assert read[0].metrics[frozenset()].value == 1.0
