"""Models that answer each request once: real model.py files, in real processes."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engines.base import EngineOptions
from engines.calls import Call, CallEngine
from engines.errors import ExecutionError, ModelAnsweredError
from engines.python_backend.inside.model import Model
from tests.engines.python_backend.calling import PATIENCE, Answers, call, outputs, run, strings
from tests.engines.python_backend.conftest import Opener

ROWS = np.array([[1.0, 2.5]], np.float32)


def wanting(what: str, rows: object = ROWS) -> Call:
    return call({"X": np.asarray(rows, np.float32), "WHAT": strings(what)[None]})


@pytest.fixture(scope="module")
def engine(models: Opener) -> CallEngine:
    return models.start("arithmetic")


def test_each_request_of_an_execution_gets_its_own_answer(engine: CallEngine) -> None:
    calls = [call({"X": np.full((rows, rows), rows, np.float32)}) for rows in (1, 2, 3)]
    found = run(engine, *calls)
    for rows, response in zip((1, 2, 3), found, strict=True):
        assert response.final
        assert np.array_equal(response.outputs["Y"], np.full((rows, rows), 2.0 * rows, np.float32))
    assert isinstance(engine, CallEngine)
    assert [spec.name for spec in engine.signature.outputs] == ["Y", "TEXT"]


def test_requests_are_executed_together(engine: CallEngine) -> None:
    first, same = run(engine, wanting("parameters"), wanting("parameters"))
    (after,) = run(engine, wanting("parameters"))
    assert first.parameters == same.parameters
    assert after.parameters == {"executions": int(first.parameters["executions"]) + 1}


def test_only_what_is_asked_for_and_declared_comes_back(engine: CallEngine) -> None:
    one, every = call({"X": ROWS}), call({"X": ROWS})
    one.outputs = ("TEXT",)
    found = run(engine, one, every)
    assert [set(each.outputs) for each in found] == [{"TEXT"}, {"Y", "TEXT"}]


def test_strings_are_bytes_whatever_the_model_made_them_of(engine: CallEngine) -> None:
    text = outputs(engine, call({"X": ROWS}))["TEXT"]
    assert text.dtype == object
    assert text.tolist() == [[b"a\0b", "\u00e9".encode(), b"3", b""]]


def test_an_output_may_be_absent(engine: CallEngine) -> None:
    assert set(outputs(engine, wanting("missing"))) == {"Y"}


def test_an_error_of_one_request_is_its_own_alone(engine: CallEngine) -> None:
    good, bad, last = run(engine, call({"X": ROWS}), wanting("own"), call({"X": ROWS}))
    assert good.error is None
    assert last.error is None
    assert bad.final
    assert str(bad.error) == "not this one"
    assert not bad.outputs


def test_where_the_model_raised_is_in_the_log_alone(engine: CallEngine, caplog: pytest.LogCaptureFixture) -> None:
    run(engine, wanting("raise"))
    (line,) = caplog.messages
    assert "model.py" in line
    assert "python_backend/inside" not in line
    assert line.endswith("ValueError: told to raise\n")


def test_the_code_of_a_models_error_is_kept(engine: CallEngine) -> None:
    (bad,) = run(engine, wanting("own"))
    assert isinstance(bad.error, ModelAnsweredError)
    assert bad.error.code == "NOT_FOUND"
    assert not bad.error.retryable


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("raise", "ValueError: told to raise"),
        ("model", "TritonModelException: told to raise"),
        ("system exit", "SystemExit: told to exit"),
        ("interrupt", "KeyboardInterrupt: told to stop"),
        ("type", "Expected an 'InferenceResponse' object in the execute function return list, found type"),
        (
            "count",
            "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
            "InferenceRequest(s) size is:2, and InferenceResponse(s) size is:1\n",
        ),
    ],
)
def test_an_execution_that_fails_is_an_error_of_all_its_requests(engine: CallEngine, what: str, words: str) -> None:
    for response in run(engine, call({"X": ROWS}), wanting(what)):
        assert type(response.error) is ExecutionError
        assert str(response.error).startswith(
            f"Failed to process the request(s) for model 'arithmetic_0_0', message: {words}"
        )
        assert "model.py" not in str(response.error)
    assert np.array_equal(outputs(engine, call({"X": ROWS}))["Y"], 2 * ROWS)


def test_a_coroutine_that_exits_ends_no_other() -> None:
    class Exiting:
        async def execute(self, requests: list[str]) -> list[str]:
            if "exit" in requests:
                raise SystemExit
            return requests

    model = Model("m_0", Exiting, decoupled=False)
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(model.execute, ["exit"]).exception(PATIENCE), SystemExit)
        assert pool.submit(model.execute, ["stay"]).result(PATIENCE) == ["stay"]
    model.finalize()


def test_a_request_that_the_model_lets_go_of_is_told_so(engine: CallEngine) -> None:
    answers = Answers()
    dropped = wanting("none")
    dropped.respond = answers.queue.put
    good, none = engine.execute([call({"X": ROWS}), dropped])
    assert none is None
    assert good is not None
    assert good.error is None
    assert "returned no response to this request" in str(answers.next().error)


def test_a_request_shows_what_the_caller_said(models: Opener) -> None:
    engine = models.start("fields", own="value")
    asked = call({"X": np.zeros((0,), np.int32)}, cancelled=lambda: True)
    asked.id, asked.correlation, asked.start, asked.end, asked.timeout = "id \u00e9", 2**64 - 1, True, True, 1000
    asked.parameters = {"a": 1, "b": 2.5, "c": True, "d": "x"}
    fields = json.loads(outputs(engine, asked)["FIELDS"][0])
    args, config, folder = fields.pop("args"), fields.pop("config"), fields.pop("folder")
    assert fields == {
        "request_id": "id \u00e9",
        "correlation_id": 2**64 - 1,
        "flags": 3,
        "timeout": 1000,
        "parameters": {"a": 1, "b": 2.5, "c": True, "d": "x"},
        "outputs": ["FIELDS", "OTHER"],
        "cancelled": True,
        "trace": None,
        "input": ["X", [0], True, True],
    }
    assert {key: args[key] for key in args if key not in ("model_config", "model_repository")} == {
        "model_instance_kind": "CPU",
        "model_instance_name": "fields_0_0",
        "model_instance_device_id": "0",
        "model_version": "1",
        "model_name": "fields",
    }
    assert folder == f"{args['model_repository']}/1"
    assert config["parameters"] == {"own": {"string_value": "value"}}
    assert config["input"][0]["dims"] == [-1]


def test_a_request_without_anything_is_empty(models: Opener) -> None:
    fields = json.loads(outputs(models.start("fields"), call({"X": np.zeros(1, np.int32)}))["FIELDS"][0])
    kept = {key: fields[key] for key in ("request_id", "correlation_id", "flags", "timeout", "parameters", "cancelled")}
    assert kept == {
        "request_id": "", "correlation_id": 0, "flags": 0, "timeout": 0, "parameters": {}, "cancelled": False
    }  # fmt: skip


def test_an_instance_has_the_name_and_the_device_it_is_given(models: Opener) -> None:
    options = models.prepare("fields")
    engine = models.open(EngineOptions(options.config, options.folder, device="1", instance="fields_0_3"))
    args = json.loads(outputs(engine, call({"X": np.zeros(1, np.int32)}))["FIELDS"][0])["args"]
    found = [args[f"model_instance_{key}"] for key in ("name", "kind", "device_id")]
    assert found == ["fields_0_3", "GPU", "1"]


def test_large_tensors_and_those_out_of_order_come_back_right(engine: CallEngine) -> None:
    large = np.random.default_rng(3).random((1000, 4096), np.float32)
    for values in (large, large.T[:8], large[::7, ::3]):
        assert np.array_equal(outputs(engine, call({"X": values}))["Y"], 2 * values)
