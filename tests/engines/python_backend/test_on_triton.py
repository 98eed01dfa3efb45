"""The model files of these tests on a real Triton: what they say here, they say there."""

import json
import urllib.request
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as http
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from engines import complete_config
from engines.base import EngineOptions
from engines.config.shown import to_json
from engines.repository import read_config
from engines.tensor import Tensors
from tests.engines.python_backend.calling import call, outputs, run, strings
from tests.engines.python_backend.conftest import Opener, write_model
from tests.triton.install import NotAvailableError
from tests.triton.server import TritonServer

NAMES = ("arithmetic", "fields", "completing", "counting")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triton")
    for name in NAMES:
        write_model(folder / name, name, {"own": "value"})
    return folder


@pytest.fixture(scope="module")
def triton(repository: Path) -> Iterator[TritonServer]:
    try:
        with TritonServer(repository) as server:
            yield server
    except NotAvailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def client(triton: TritonServer) -> Iterator[Any]:
    with http.InferenceServerClient(triton.http) as found:
        yield found


def _asked(client: Any, model: str, inputs: Tensors, **fields: Any) -> Tensors:
    asked = []
    for name, array in inputs.items():
        datatype = {"O": "BYTES", "f": "FP32", "i": "INT32"}[array.dtype.kind]
        asked.append(http.InferInput(name, array.shape, datatype))
        asked[-1].set_data_from_numpy(array)
    found = client.infer(model, asked, **fields)
    return {each["name"]: found.as_numpy(each["name"]) for each in found.get_response()["outputs"]}


def _open(models: Opener, folder: Path) -> Any:
    config = complete_config(read_config(folder), folder / "1")
    return models.open(EngineOptions(config, folder / "1"))


@pytest.fixture(scope="module")
def arithmetic(models: Opener, repository: Path) -> Any:
    return _open(models, repository / "arithmetic")


@pytest.mark.parametrize("what", ["", "missing", "own", "raise", "model", "count", "type"])
def test_answers_and_errors_are_the_same(arithmetic: Any, client: Any, what: str) -> None:
    inputs = {"X": np.array([[1.0, 2.5]], np.float32), "WHAT": strings(what)[None]}
    (ours,) = run(arithmetic, call(inputs))
    if ours.error is not None:
        with pytest.raises(InferenceServerException) as caught:
            _asked(client, "arithmetic", inputs)
        assert str(ours.error).strip() == str(caught.value.message()).partition("\n\nAt:")[0].strip()
        return
    theirs = _asked(client, "arithmetic", inputs)
    assert set(ours.outputs) == set(theirs)
    for name, array in theirs.items():
        assert (ours.outputs[name].dtype, ours.outputs[name].tolist()) == (array.dtype, array.tolist())


def test_requests_look_the_same(models: Opener, client: Any, repository: Path) -> None:
    engine = _open(models, repository / "fields")
    inputs = {"X": np.zeros(3, np.int32)}
    asked = call(inputs)
    asked.id, asked.correlation, asked.start, asked.timeout = "an id", 7, True, 60_000_000
    asked.parameters = {"a": 1, "b": True, "c": "x"}
    ours = json.loads(outputs(engine, asked)["FIELDS"][0])
    found = _asked(
        client,
        "fields",
        inputs,
        request_id="an id",
        sequence_id=7,
        sequence_start=True,
        timeout=60_000_000,
        parameters=dict(asked.parameters),
    )
    theirs = json.loads(found["FIELDS"][0])
    for fields in (ours, theirs):
        del fields["args"]["model_config"]
    assert ours == theirs


def test_a_completed_configuration_is_the_same(client: Any, repository: Path) -> None:
    config = complete_config(read_config(repository / "completing"), repository / "completing" / "1")
    theirs = client.get_model_config("completing")
    ours = to_json(config)
    for key in ("max_batch_size", "input", "output", "dynamic_batching"):
        assert ours[key] == theirs[key]


def test_metrics_are_the_same(models: Opener, client: Any, triton: TritonServer, repository: Path) -> None:
    engine = _open(models, repository / "counting")
    for value in (1.0, 2.0):
        inputs = {"X": np.array([value], np.float32)}
        assert outputs(engine, call(inputs))["Y"] == _asked(client, "counting", inputs)["Y"]
    with urllib.request.urlopen(f"http://{triton.metrics}/metrics", timeout=10) as answer:
        theirs = _samples(answer.read().decode())
    for family in engine.metrics():
        for metric in family.metrics.values():
            labels = frozenset(metric.labels.items())
            if family.kind == "histogram":
                assert theirs[f"{family.name}_sum", labels] == metric.value
                bounds = [("le", bound) for bound in (*(format(each, "g") for each in metric.buckets), "+Inf")]
                counts = [theirs[f"{family.name}_bucket", labels | {bound}] for bound in bounds]
                assert counts == list(accumulate(metric.counts))
            else:
                name = f"{family.name}_total" if family.kind == "counter" else family.name  # as the parser calls it
                assert theirs[name, labels] == metric.value


def _samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """By name and labels."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(each.name, frozenset(each.labels.items())): each.value for each in samples}
