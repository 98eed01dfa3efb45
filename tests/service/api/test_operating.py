"""A whole server over sockets, as its operators use it: statistics, settings, models that are sent, headers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from service.app import create_app
from service.settings import Settings
from tests.conformance import repository
from tests.service.api.serving import Address, serve

IDENTITY = """backend: "identity" max_batch_size: 8 dynamic_batching { }
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""
SENT = json.dumps(
    {
        "backend": "identity",
        "input": [{"name": "IN", "data_type": "TYPE_INT32", "dims": ["2"]}],
        "output": [{"name": "OUT", "data_type": "TYPE_INT32", "dims": [2]}],
    }
)


@contextmanager
def server(folder: Path, **changes: Any) -> Iterator[Address]:
    settings = Settings(model_repository=[folder], grpc=False, cores=2, **changes)
    with serve(create_app(settings)) as address:
        with httpx.Client(base_url=address.url, timeout=30) as http:
            assert http.get("/v2/health/ready").status_code == 200
        yield address


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "identity" / "1").mkdir(parents=True)
    (folder / "identity" / "config.pbtxt").write_text(IDENTITY)
    repository.write(folder, "python", ["request_fields", "repeat_int32"])
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[Address]:
    with server(folder, allow_control=True, header_forward_pattern="^x-my-") as address:
        yield address


@pytest.fixture
def client(address: Address) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(address.netloc)
    yield client
    client.close()


@pytest.fixture
def http(address: Address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address.url, timeout=30) as client:
        yield client


def infer(client: triton.InferenceServerClient, rows: int = 1, **options: Any) -> triton.InferResult:
    tensor = triton.InferInput("INPUT0", [rows, 2], "FP32")
    tensor.set_data_from_numpy(np.ones((rows, 2), np.float32))
    return client.infer("identity", [tensor], **options)


def test_statistics_by_the_official_client(client: triton.InferenceServerClient) -> None:
    client.load_model("identity")
    infer(client, 1)
    infer(client, 3)
    told = client.get_inference_statistics("identity")
    (one,) = told["model_stats"]
    assert list(one) == [
        "name",
        "version",
        "last_inference",
        "inference_count",
        "execution_count",
        "inference_stats",
        "response_stats",
        "batch_stats",
        "memory_usage",
    ]
    assert list(one["inference_stats"]) == [
        "success",
        "fail",
        "queue",
        "compute_input",
        "compute_infer",
        "compute_output",
        "cache_hit",
        "cache_miss",
    ]
    assert (one["inference_count"], one["execution_count"], one["inference_stats"]["success"]["count"]) == (4, 2, 2)
    assert [list(batch) for batch in one["batch_stats"]] == [
        ["batch_size", "compute_input", "compute_infer", "compute_output"]
    ] * 2
    assert client.get_inference_statistics("identity", "1") == told
    everything = client.get_inference_statistics()["model_stats"]
    assert [model["name"] for model in everything] == ["identity", "repeat_int32", "request_fields"]
    for name, version in (("nowhere", ""), ("identity", "9")):
        with pytest.raises(InferenceServerException):
            client.get_inference_statistics(name, version)


def test_trace_settings_by_the_official_client(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    with server(folder, models=["identity"], allow_control=True, trace_file=str(file)) as address:
        client = triton.InferenceServerClient(address.netloc)
        before = client.get_trace_settings()
        assert list(before) == ["trace_level", "trace_rate", "trace_count", "log_frequency", "trace_file", "trace_mode"]
        assert (before["trace_level"], before["trace_file"]) == (["OFF"], str(file))
        settings = {"trace_level": ["TIMESTAMPS"], "trace_rate": "2", "trace_count": "2"}
        assert client.update_trace_settings("identity", settings) == {**before, **settings}
        assert client.get_trace_settings() == before
        for number in range(6):
            infer(client, request_id=f"r{number}")
        assert client.get_trace_settings("identity")["trace_count"] == "0"
        assert client.update_trace_settings("identity", dict.fromkeys(settings)) == before
        for settings in ({"trace_level": ["TENSORS"]}, {"trace_level": []}, {"trace_rate": "x"}, {"trace_file": "x"}):
            with pytest.raises(InferenceServerException):
                client.update_trace_settings("identity", settings)
        with pytest.raises(InferenceServerException, match="nowhere"):
            client.get_trace_settings("nowhere")
        client.close()
    found = json.loads(file.with_name("trace.json.0").read_bytes())
    assert [item["request_id"] for item in found if "request_id" in item] == ["r1", "r3"]
    stamps = [stamp["ns"] for item in found if item["id"] == 1 for stamp in item.get("timestamps", ())]
    assert len(stamps) == 7
    assert stamps == sorted(stamps)


def test_log_settings_by_the_official_client(client: triton.InferenceServerClient) -> None:
    before = client.get_log_settings()
    assert before["log_format"] == "default"
    try:
        assert client.update_log_settings({"log_format": "ISO8601"}) == {**before, "log_format": "ISO8601"}
    finally:
        assert client.update_log_settings({"log_format": "default", "log_file": None}) == before
    with pytest.raises(InferenceServerException, match="log_info is 1"):
        client.update_log_settings({"log_info": 1})


def test_a_model_that_is_sent(client: triton.InferenceServerClient, http: httpx.Client) -> None:
    client.load_model("sent", config=SENT, files={"file:1/anything": b"1"})
    assert client.is_model_ready("sent")
    asked = {"inputs": [{"name": "IN", "shape": [2], "datatype": "INT32", "data": [4, 5]}]}
    assert http.post("/v2/models/sent/infer", json=asked).json()["outputs"][0]["data"] == [4, 5]
    assert {"name": "sent", "version": "1", "state": "READY"} in client.get_model_repository_index()
    client.unload_model("sent", unload_dependents=True)
    entry = next(entry for entry in client.get_model_repository_index() if entry["name"] == "sent")
    assert (entry["version"], entry["state"] in ("UNLOADING", "UNAVAILABLE")) == ("1", True)
    assert "it was unloaded" in entry["reason"]
    with pytest.raises(InferenceServerException, match="no path inside"):
        client.load_model("sent", config=SENT, files={"file:../x": b"1"})


def test_headers_become_parameters_of_the_model(http: httpx.Client) -> None:
    def parameters(headers: dict[str, str], **given: object) -> object:
        body = {"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "INT32", "data": [1]}], "parameters": given}
        answer = http.post("/v2/models/request_fields/infer", json=body, headers=headers).json()
        return json.loads(answer["outputs"][0]["data"][0])["parameters"]

    assert parameters({"X-My-Name": "a b", "x-other": "1"}, n=1) == {"x-my-name": "a b", "n": 1}
    assert parameters({"x-my-n": "header"}, **{"x-my-n": "parameter"}) == {"x-my-n": "header"}
    assert parameters({}) == {}


@pytest.mark.parametrize("name", ["triton_final_response", "triton_"])
def test_reserved_parameters(http: httpx.Client, name: str) -> None:
    body = {"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}
    answer = http.post("/v2/models/identity/infer", json={**body, "parameters": {name: True}})
    assert (answer.status_code, "reserved" in answer.json()["error"]) == (400, True)
    allowed = {"triton_enable_empty_final_response": True}
    assert http.post("/v2/models/identity/infer", json={**body, "parameters": allowed}).status_code == 200


def test_extensions(client: triton.InferenceServerClient) -> None:
    assert client.get_server_metadata()["extensions"] == [
        "classification",
        "sequence",
        "model_repository",
        "model_repository(unload_dependents)",
        "schedule_policy",
        "model_configuration",
        "binary_tensor_data",
        "parameters",
        "statistics",
        "trace",
        "logging",
    ]


@pytest.mark.parametrize("kind", ["system", "cuda"])
def test_shared_memory_is_never_there(http: httpx.Client, kind: str) -> None:
    status = http.get(f"/v2/{kind}sharedmemory/status")
    assert (status.status_code, status.json()) == (200, [])
    assert http.get(f"/v2/{kind}sharedmemory/region/a/status").status_code == 404
    refused = http.post(f"/v2/{kind}sharedmemory/region/a/register", json={"key": "/a", "byte_size": 4})
    assert (refused.status_code, "could point at memory of others" in refused.json()["error"]) == (400, True)
    for path in ("unregister", "region/a/unregister"):
        assert http.post(f"/v2/{kind}sharedmemory/{path}").status_code == 200


def test_generate_maps_fields_to_tensors(http: httpx.Client) -> None:
    def ask(fields: dict[str, object]) -> httpx.Response:
        return http.post("/v2/models/identity/generate", json=fields)

    assert ask({"INPUT0": 1.5}).json() == {"OUTPUT0": 1.5, "model_name": "identity", "model_version": "1"}
    whole = ask({"INPUT0": [1, 2], "id": "7", "parameters": {"a": 1}, "b": "c"})
    assert whole.text == '{"OUTPUT0":[1.0,2.0],"id":"7","model_name":"identity","model_version":"1"}'
    assert whole.headers["x-model"] == "identity:1"
    assert ask({"parameters": {"INPUT0": [3]}}).json()["OUTPUT0"] == 3.0
    for fields, words in (
        ({"INPUT0": [[1, 2]]}, "send a flat list"),
        ({"INPUT0": ["a"]}, "input 'INPUT0': data does not fit datatype FP32"),
        ({"INPUT0": {"a": 1}}, "input 'INPUT0': data does not fit datatype FP32"),
        ({"INPUT0": 1, "more": [1]}, "'more' is no input of the model, and as a parameter"),
        ({"INPUT0": 1, "parameters": 3}, "Expected `object`"),
        ({"INPUT0": 1, "id": [1]}, "id is not right"),
        ({}, "input 'INPUT0' is missing"),
        ({"INPUT0": 1, "triton_a": 1}, "reserved"),
    ):
        answer = ask(fields)
        assert (answer.status_code, words in answer.json()["error"]) == (400, True), answer.text
    assert http.post("/v2/models/identity/generate", content=b"[1").status_code == 400
    assert http.post("/v2/models/nowhere/generate", json={}).status_code == 404


def test_parameters_reach_the_model_by_generate(http: httpx.Client) -> None:
    fields = {"INPUT0": 1, "a": True, "id": "7", "parameters": {"b": "c", "priority": 2}}
    answer = http.post("/v2/models/request_fields/generate", json=fields, headers={"x-my-n": "1"}).json()
    told = json.loads(answer["FIELDS"])
    assert (told["request_id"], told["parameters"]) == ("7", {"a": True, "b": "c", "x-my-n": "1"})


def test_generate_of_a_model_with_any_number_of_answers(http: httpx.Client) -> None:
    three = {"IN": [4, 2, 9], "DELAY": [0, 0, 0], "WAIT": 0}
    stream = http.post("/v2/models/repeat_int32/generate_stream", json=three)
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["x-model"] == "repeat_int32:1"
    events = [json.loads(line.removeprefix("data: ")) for line in stream.text.splitlines() if line]
    assert [(event["OUT"], event["IDX"]) for event in events] == [(4, 0), (2, 1), (9, 2)]
    one = http.post("/v2/models/repeat_int32/generate", json={"IN": [4], "DELAY": [0], "WAIT": 0})
    assert one.json() == {"IDX": 0, "OUT": 4, "model_name": "repeat_int32", "model_version": "1"}
    several = http.post("/v2/models/repeat_int32/generate", json=three)
    assert (several.status_code, "gave several answers; ask /generate_stream" in several.text) == (400, True)
    bad = http.post("/v2/models/repeat_int32/generate_stream", json={"IN": "a"})
    assert (bad.status_code, bad.headers["content-type"]) == (400, "application/json")


def test_generate_stream_of_a_model_with_one_answer(http: httpx.Client) -> None:
    stream = http.post("/v2/models/identity/generate_stream", json={"INPUT0": 1})
    assert stream.text == 'data: {"OUTPUT0":1.0,"model_name":"identity","model_version":"1"}\n\n'


def test_without_control_settings_can_be_read_only(folder: Path) -> None:
    with server(folder, models=["identity"]) as address, httpx.Client(base_url=address.url) as http:
        for path in ("/v2/trace/setting", "/v2/models/identity/trace/setting", "/v2/logging"):
            assert http.get(path).status_code == 200
            refused = http.post(path, json={})
            assert (refused.status_code, "allow_control = true" in refused.json()["error"]) == (403, True)
        extensions = http.get("/v2").json()["extensions"]
        assert not [name for name in extensions if name.startswith("model_repository")]
        assert "trace" in extensions


def test_without_a_file_tracing_cannot_be_switched_on(folder: Path) -> None:
    with server(folder, models=["identity"], allow_control=True) as address:
        client = triton.InferenceServerClient(address.netloc)
        with pytest.raises(InferenceServerException, match="start it with --trace-file"):
            client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})
        client.close()
