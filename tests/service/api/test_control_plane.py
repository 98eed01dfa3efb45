"""What is not inference: health, listing, the OpenAPI page, and paths that do not exist."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.api import Limits, mount
from service.api.manner import triton_manner
from tests.service.api.conftest import MAX_BODY_BYTES
from tests.service.api.models import TestGateway
from tests.service.api.serving import serve


def test_health_bodies(http: httpx.Client) -> None:
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert http.get("/v2/models/minilm/ready").json() == {"name": "minilm", "ready": True}
    bad = http.get("/v2/models/bad/ready")
    assert (bad.status_code, bad.json()) == (400, {"name": "bad", "ready": False})
    assert bad.headers["x-request-id"]


def test_a_server_whose_models_are_all_unavailable_is_not_ready(gateway: TestGateway) -> None:
    class OnlyBad:
        def models(self) -> Any:
            return [gateway.model("bad")]

    app = FastAPI()
    mount(app, OnlyBad(), Limits())  # type: ignore[arg-type]
    with serve(app) as address:
        answer = httpx.get(f"{address.url}/v2/health/ready")
    assert (answer.status_code, answer.json()) == (400, {"ready": False})


def test_server_metadata(http: httpx.Client) -> None:
    metadata = http.get("/v2").json()
    assert set(metadata) == {"name", "version", "extensions"}
    assert "binary_tensor_data" in metadata["extensions"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"ready": false}'])
def test_index_of_all(http: httpx.Client, content: bytes) -> None:
    index = http.post("/v2/repository/index", content=content).json()
    assert "bad" in {entry["name"] for entry in index}


def test_index_of_ready_ones(http: httpx.Client) -> None:
    index = http.post("/v2/repository/index", json={"ready": True}).json()
    assert {entry["state"] for entry in index} == {"READY"}


def test_config_of_what_has_none(http: httpx.Client) -> None:
    route = http.get("/v2/models/minilm/config")
    assert (route.status_code, route.json()["error"]) == (
        404,
        "'minilm' is a route over minilm_a, minilm_b; ask for the config of one of them",
    )
    bad = http.get("/v2/models/bad/config")
    assert bad.status_code == 503
    assert "config.pbtxt:3: no such field" in bad.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v2/nowhere", 404),
        ("POST", "/v2/models/identity/nowhere", 404),
        ("GET", "/v2/models/identity/infer", 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/v2/models/unknown", 404),
        ("GET", "/v2/models/identity/versions/99", 404),
        ("POST", "/v2/models/identity/versions/99/infer", 404),
    ],
)
def test_v2_errors_have_one_shape(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path, json={"inputs": []} if method == "POST" else None)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nowhere", 404, "unknown_url"),
        ("GET", "/v1/embeddings", 405, "method_not_allowed"),
        ("GET", "/v1/models/unknown", 404, "model_not_found"),
        ("GET", "/v1/models/un/known", 404, "model_not_found"),
    ],
)
def test_v1_errors_have_openais_shape(http: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code


def test_allow_header(http: httpx.Client) -> None:
    assert http.get("/v2/models/identity/infer").headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b'{"ready": "perhaps"}', 400, "Expected `bool`"),
        (b"{", 400, "not right"),
        (b"[" * 100_000, 400, "not right"),
        (b" " * (MAX_BODY_BYTES + 1), 413, "limit"),
    ],
)
def test_bad_body_of_the_control_plane(http: httpx.Client, content: bytes, status: int, words: str) -> None:
    answer = http.post("/v2/repository/index", content=content)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_retry_headers(http: httpx.Client) -> None:
    answer = http.post("/v1/embeddings", json={"model": "full", "input": "a"})
    assert answer.status_code == 429
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("1", "250")


def test_a_crash_shows_nothing_of_the_inside(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    answer = http.post("/v1/embeddings", json={"model": "crash", "input": "a"}, headers={"x-request-id": "find-me"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "find-me" in answer.json()["error"]["message"]
    (record,) = [record for record in caplog.records if record.name == "batchyard.api"]
    assert "find-me" in record.getMessage()
    assert record.exc_info is not None


def test_errors_of_other_endpoints_of_the_app(gateway: TestGateway) -> None:
    app = FastAPI()
    mount(app, gateway, Limits())  # type: ignore[arg-type]

    @app.get("/other/{number}")
    async def other(number: int) -> float:
        return 1 / number

    with serve(app) as address, httpx.Client(base_url=address.url) as http:
        assert http.get("/other/2").json() == 0.5
        wrong, crash = http.get("/other/x"), http.get("/other/0")
    assert wrong.status_code == 400
    assert "path.number" in wrong.json()["error"]
    assert crash.status_code == 500
    assert crash.headers["x-request-id"] in crash.json()["error"]


@pytest.mark.parametrize("kind", ["system", "cuda"])
def test_shared_memory_in_the_words_of_triton(gateway: TestGateway, kind: str) -> None:
    app = FastAPI()
    mount(app, gateway, Limits(), manner=triton_manner())  # type: ignore[arg-type]
    with serve(app) as address, httpx.Client(base_url=address.url) as http:
        answer = http.get(f"/v2/{kind}sharedmemory/region/a/status")
    assert answer.json() == {"error": f"Unable to find {kind} shared memory region: 'a'"}


def test_openapi_page(http: httpx.Client) -> None:
    assert http.get("/docs").status_code == 200
    paths = http.get("/openapi.json").json()["paths"]
    assert {"/v2", "/v2/models/{model}/config", "/v1/models", "/v2/repository/index"} <= set(paths)
    assert _request_schema(paths["/v2/models/{model}/infer"]) == _request_schema(
        paths["/v2/models/{model}/versions/{version}/infer"]
    )


def _request_schema(path: dict[str, Any]) -> dict[str, Any]:
    return dict(path["post"]["requestBody"]["content"]["application/json"]["schema"])


@pytest.mark.parametrize(
    ("documented", "called"),
    [("/v2/models/{model}/infer", "/v2/models/identity_text/infer"), ("/v1/embeddings", "/v1/embeddings")],
)
def test_the_documented_examples_work(http: httpx.Client, documented: str, called: str) -> None:
    """The request is accepted as it stands, and the answer has the fields that are documented."""
    path = http.get("/openapi.json").json()["paths"][documented]
    answer = http.post(called, json=_request_schema(path)["example"])
    assert answer.status_code == 200, answer.text
    schema = path["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(answer.json()) == set(schema["properties"]) == set(schema["example"])
