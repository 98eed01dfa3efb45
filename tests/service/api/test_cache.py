"""The cache as callers see it, over sockets: headers, statistics, and nothing that a tenant could tell of another."""

import json
import math
import random
import socket
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.conftest import ROOT, serving

MODEL = """
backend: "identity" max_batch_size: 8 dynamic_batching { }
response_cache { enable: true }
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
parameters { key: "batchyard.identity.delay_ms" value { string_value: "4" } }
"""
KEYS = {"ours": "key-of-ours", "theirs": "key-of-theirs"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    (root / "cached" / "1").mkdir(parents=True)
    (root / "cached" / "config.pbtxt").write_text(MODEL)
    return root


@pytest.fixture(scope="module")
def grpc_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def url(repository: Path, grpc_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("config") / "gateway.toml"
    config.write_text("")
    with serving("--config", str(config), "--model-repository", str(repository), "--grpc-port", str(grpc_port)) as url:
        yield url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


def body(*values: float, **more: Any) -> dict[str, Any]:
    given = {"name": "INPUT0", "shape": [1, len(values)], "datatype": "FP32", "data": list(values)}
    return {"inputs": [given], **more}


def ask(http: httpx.Client, content: dict[str, Any], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = http.post("/v2/models/cached/infer", json=content, headers=named)
    assert response.status_code == 200
    return response


def test_headers_say_what_the_cache_did(http: httpx.Client) -> None:
    first, second = ask(http, body(1, 1)), ask(http, body(1, 1))
    assert first.headers["x-cache"] == "miss"
    assert "age" not in first.headers
    assert second.headers["x-cache"] == "hit"
    assert second.headers["age"].isdigit()
    assert first.content == second.content
    assert "x-cache" not in ask(http, body(1, 1), cache_control="no-store").headers
    assert ask(http, body(1, 1), cache_control="max-age=0, No-Cache").headers["x-cache"] == "miss"


def test_an_answer_is_told_in_the_words_of_each_request(http: httpx.Client) -> None:
    """Whatever form the first one asked for, and however often."""
    plain = ask(http, body(1, 2)).json()
    for _ in range(3):
        assert ask(http, body(1, 2, id="seven")).json() == {**plain, "id": "seven"}
        binary = ask(http, body(1, 2, parameters={"binary_data_output": True}))
        length = int(binary.headers["inference-header-content-length"])
        assert np.frombuffer(binary.content[length:], np.float32).tolist() == [1, 2]
        assert ask(http, body(1, 2)).json() == plain
    assert ask(http, body(1, 2), x_request_id="mine").headers["x-request-id"] == "mine"


def test_an_explanation_tells_the_same(http: httpx.Client) -> None:
    told = [json.loads(ask(http, body(1, 3), x_explain="1").headers["x-explain"])["cache"] for _ in range(2)]
    off = ask(http, body(1, 3), x_explain="1", cache_control="no-store").headers["x-explain"]
    assert [*told, json.loads(off)["cache"]] == ["miss", "hit", "off"]


def test_parameters_of_the_protocol_make_no_second_entry_those_of_the_model_do(http: httpx.Client) -> None:
    ask(http, body(1, 4))
    assert ask(http, body(1, 4, parameters={"priority": 1, "timeout": 10**7})).headers["x-cache"] == "hit"
    assert ask(http, body(1, 4, parameters={"mine": 1})).headers["x-cache"] == "miss"


def test_grpc_shares_the_entries_and_says_so_behind_the_answer(http: httpx.Client, grpc_port: int) -> None:
    ask(http, body(1, 5))
    given = triton_grpc.InferInput("INPUT0", [1, 2], "FP32").set_data_from_numpy(np.array([[1, 5]], np.float32))
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{grpc_port}") as client:
        message = triton_grpc._utils._get_inference_request(  # the call itself, since the client hides the trailer
            model_name="cached", inputs=[given], model_version="", request_id="", outputs=None, sequence_id=0,
            sequence_start=False, sequence_end=False, priority=0, timeout=None, parameters=None,
        )  # fmt: skip
        for control, verdict in (("", "hit"), ("no-store", None), ("no-cache", "miss")):
            _, call = client._client_stub.ModelInfer.with_call(message, metadata=[("cache-control", control)])
            assert dict(call.trailing_metadata()).get("x-cache") == verdict


def test_statistics_are_triton_s(http: httpx.Client, url: str) -> None:
    def counts() -> dict[str, int]:
        found = http.get("/v2/models/cached/stats").json()["model_stats"][0]["inference_stats"]
        return {name: found[name]["count"] for name in ("success", "cache_hit", "cache_miss", "compute_infer")}

    before = counts()
    for _ in range(3):
        ask(http, body(1, 6))
    assert {name: now - before[name] for name, now in counts().items()} == {
        "success": 3,
        "cache_hit": 2,
        "cache_miss": 1,
        "compute_infer": 1,
    }
    with triton_http.InferenceServerClient(url.removeprefix("http://")) as client:
        assert client.get_inference_statistics("cached")["model_stats"][0]["inference_stats"]["cache_hit"]["ns"] > 0


def test_embeddings_by_a_route_that_is_cached(tmp_path: Path) -> None:
    if not any((ROOT / "model_repository" / "minilm_onnx").glob("[0-9]*/*")):
        pytest.skip("the shipped models are not built: run `batchyard build`")
    config = tmp_path / "gateway.toml"
    config.write_text('models = ["minilm_onnx"]\n[routes.kept]\nvariants = ["minilm_onnx"]\ncache = true\n')
    with serving("--config", str(config)) as url, httpx.Client(base_url=url, timeout=30) as http:
        told = [http.post("/v1/embeddings", json={"model": "kept", "input": "my card"}) for _ in range(2)]
    assert [one.headers["x-cache"] for one in told] == ["miss", "hit"]
    assert told[0].json() == told[1].json()


@pytest.fixture(scope="module")
def guarded(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("tenants") / "gateway.toml"
    tables = [f'[tenants.{name}]\nkeys = ["{sha256(key.encode()).hexdigest()}"]\n' for name, key in KEYS.items()]
    config.write_text("".join(tables))
    with serving("--config", str(config), "--model-repository", str(repository)) as url:
        yield url


def rank_score(some: Sequence[float], others: Sequence[float]) -> float:
    """Mann and Whitney's U in standard deviations: above 0 where `some` are the larger ones."""
    larger = sum((one > other) + (one == other) / 2 for one in some for other in others)
    middle = len(some) * len(others) / 2
    return (larger - middle) / math.sqrt(middle * (len(some) + len(others) + 1) / 6)


def test_the_score_knows_larger_from_like() -> None:
    random_ = random.Random(3)
    some, others = ([random_.random() for _ in range(80)] for _ in range(2))
    assert abs(rank_score(some, others)) < 3
    assert rank_score([one + 1 for one in some], others) > 8


def test_no_tenant_can_tell_by_time_what_another_asked(guarded: str) -> None:
    """Theirs for what ours have cached takes as long as for what nobody has; what theirs have cached takes less, so
    that the test would see a difference. In random order, so that whatever else the machine does falls on all alike."""
    random_ = random.Random(5)
    seconds: dict[str, list[float]] = {"asked by ours": [], "asked by nobody": [], "asked by theirs": []}
    values = iter(range(10**6))
    with httpx.Client(base_url=guarded, timeout=30) as http:

        def timed(tenant: str, value: int) -> tuple[float, str]:
            start = time.perf_counter()
            response = ask(http, body(2.0, float(value)), x_api_key=KEYS[tenant])
            return time.perf_counter() - start, response.headers["x-cache"]

        for _ in range(80):
            for kind in random_.sample(sorted(seconds), 3):
                value = next(values)
                first = next(values) if kind == "asked by nobody" else value
                timed("theirs" if kind == "asked by theirs" else "ours", first)
                took, verdict = timed("theirs", value)
                assert verdict == ("hit" if kind == "asked by theirs" else "miss")
                seconds[kind].append(took)
    assert abs(rank_score(seconds["asked by ours"], seconds["asked by nobody"])) < 4
    assert rank_score(seconds["asked by nobody"], seconds["asked by theirs"]) > 6
