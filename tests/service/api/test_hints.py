"""What a call says about where it may be answered, and what its answer says about where it was."""

import json
from typing import Any

import httpx
import openai
import pytest

from service.api.explain import LONGEST, explain_refusal
from service.generating import GenerateRequest
from service.types import ANYONE, Candidate, InferRequest, Prediction, Routed
from tests.service.api.models import TestGateway
from tests.service.api.streams import data_of

INFER = "/v2/models/identity/infer"
TENSOR = {"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}
HINTS = {"x-variant": "minilm_b", "x-min-quality": "0.9", "x-explain": "1", "x-user": "ada"}
PATHS: dict[str, dict[str, Any]] = {
    INFER: {"inputs": [TENSOR]},
    "/v1/embeddings": {"model": "minilm", "input": "a"},
    "/v1/chat/completions": {"model": "echo", "messages": [{"role": "user", "content": "a"}]},
    "/v1/completions": {"model": "echo", "prompt": "a"},
    "/v2/models/echo/generate": {"text_input": "a"},
    "/v2/models/echo/generate_stream": {"text_input": "a"},
}
INFERS = (INFER, "/v1/embeddings")


def last_asked(gateway: TestGateway, path: str) -> InferRequest | GenerateRequest:
    last = gateway.last if path in INFERS else gateway.talker.last
    assert last is not None
    return last


@pytest.mark.parametrize("path", PATHS)
def test_the_hints_of_a_call_reach_the_gateway(http: httpx.Client, gateway: TestGateway, path: str) -> None:
    http.post(path, json=PATHS[path], headers=HINTS).raise_for_status()
    hints = last_asked(gateway, path).hints
    assert (hints.variant, hints.min_quality, hints.explain, hints.tenant) == ("minilm_b", 0.9, True, ANYONE)
    assert hints.headers[b"x-user"] == b"ada"


@pytest.mark.parametrize("path", PATHS)
def test_a_call_without_hints_has_its_headers_only(http: httpx.Client, gateway: TestGateway, path: str) -> None:
    answer = http.post(path, json=PATHS[path], headers={"x-user": "ada"})
    hints = last_asked(gateway, path).hints
    assert (hints.variant, hints.min_quality, hints.explain) == ("", 0.0, False)
    assert hints.headers[b"x-user"] == b"ada"
    assert not {"x-explain", "x-step-down", "x-retries"} & answer.headers.keys()


@pytest.mark.parametrize(("header", "parameter", "wanted"), [("0.5", 0.8, 0.8), ("0.9", 0.8, 0.9), ("0", 1, 1.0)])
def test_the_stricter_quality_counts(
    http: httpx.Client, gateway: TestGateway, header: str, parameter: float, wanted: float
) -> None:
    for path in (INFER, "/v2/models/echo/generate"):
        body = PATHS[path] | {"parameters": {"min_quality": parameter}}
        http.post(path, json=body, headers={"x-min-quality": header}).raise_for_status()
        assert last_asked(gateway, path).hints.min_quality == wanted


def test_a_model_may_have_a_default_deadline_of_its_own(http: httpx.Client, gateway: TestGateway) -> None:
    before = gateway.clock()
    tensor = TENSOR | {"shape": [1, 2], "data": [1, 2]}
    http.post("/v2/models/scalar/infer", json={"inputs": [tensor]}).raise_for_status()
    assert before + 3 <= last_asked(gateway, INFER).deadline <= gateway.clock() + 3
    for path in ("generate", "generate_stream"):
        http.post(f"/v2/models/thinker/{path}", json={"text_input": "a"}).raise_for_status()
        assert before + 4 <= last_asked(gateway, path).deadline <= gateway.clock() + 4


@pytest.mark.parametrize("path", INFERS)
def test_predicted_and_actual_milliseconds_are_always_told(http: httpx.Client, path: str) -> None:
    headers = http.post(path, json=PATHS[path]).headers
    told = [headers[name] for name in ("x-predicted-ms", "x-predicted-p95-ms", "x-actual-ms")]
    assert told == ["4.000", "8.500", "5.000"]


def test_a_step_down_and_retries_are_told(http: httpx.Client) -> None:
    for path, body in PATHS.items():
        headers = http.post(path, json=body, headers={"x-variant": "any"}).headers
        assert (headers["x-step-down"], headers["x-retries"]) == ("echo:2", "1")


@pytest.mark.parametrize("path", PATHS)
def test_an_explanation(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json=PATHS[path], headers=HINTS)
    told = json.loads(answer.headers["x-explain"])
    assert (told["route"], told["rule"]) == ("chat", "short")
    assert (told["policy"], told["step_down"], told["hedged"], told["cache"]) == ("ordered", "echo:2", False, "off")
    assert told["retries"] == ["small:1: it was down"]
    big = {"name": "big:1", "predicted_ms": 3000.0, "predicted_p95_ms": 4000.0, "verdict": "too slow"}
    assert told["candidates"][0] == big
    assert told["candidates"][1]["verdict"] == "chosen"


def test_an_explanation_of_tensors_tells_of_the_batch(http: httpx.Client) -> None:
    told = json.loads(http.post(INFER, json=PATHS[INFER], headers={"x-explain": "true"}).headers["x-explain"])
    assert (told["variant"], told["queue_ms"], told["engine_ms"]) == ("identity:2", 1.5, 2.25)
    assert (told["predicted_ms"], told["predicted_p95_ms"], told["actual_ms"]) == (4.0, 8.5, 5.0)
    assert (told["batch_size"], told["neighbours"], told["batch_tokens"]) == (4, 3, 30)
    assert (told["padding_tokens"], told["padding_ratio"]) == (10, 0.25)
    assert (told["route"], told["candidates"], told["retries"]) == ("", [], [])


def test_a_stream_tells_what_was_predicted_in_its_head_and_its_last_comment(http: httpx.Client) -> None:
    path = "/v2/models/echo/generate_stream"
    answer = http.post(path, json=PATHS[path], headers={"x-explain": "1"})
    assert answer.headers["x-predicted-ms"] == "20.000"
    assert json.loads(answer.headers["x-explain"])["predicted_p95_ms"] == 50.0
    assert "predicted_ms=20.000 predicted_p95_ms=50.000" in answer.text.splitlines()[-2]


@pytest.mark.parametrize("path", ["/v2/models/{}/infer", "/v1/embeddings"])
def test_a_refusal_is_explained_where_it_is_asked_for(http: httpx.Client, path: str) -> None:
    body = {"inputs": [TENSOR], "model": "full", "input": "a"}
    if "embeddings" in path:
        del body["inputs"]
    answer = http.post(path.format("full"), json=body, headers={"x-explain": "1"})
    assert answer.status_code == 429
    assert json.loads(answer.headers["x-explain"])["candidates"] == []
    assert "x-explain" not in http.post(path.format("full"), json=body).headers


def test_a_long_explanation_is_cut_and_stays_json_in_ascii() -> None:
    many = tuple(Candidate(f"grün{n}\x7f", Prediction(1, 2, 3), "😀" * 500) for n in range(40))
    name, text = explain_refusal(Routed("route", candidates=many, tries=("it failed",) * 40))
    assert name == b"x-explain"
    assert len(text) <= LONGEST
    assert all(0x20 <= byte < 0x7F for byte in text)
    told = json.loads(text)
    assert 0 < len(told["candidates"]) < 40
    assert told["candidates"][0]["name"] == "grün0\x7f"
    assert told["left_out"] == 80 - len(told["candidates"]) - len(told["retries"])


def test_unavailable_says_when_to_come_back_where_it_is_known(http: httpx.Client) -> None:
    for model, wanted in (("back_soon", ("2", "1250")), ("down", (None, None))):
        answer = http.post(f"/v2/models/{model}/infer", json={"inputs": [TENSOR]})
        assert answer.status_code == 503
        assert (answer.headers.get("retry-after"), answer.headers.get("retry-after-ms")) == wanted
        assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize(("model", "tries"), [("poisoned", 1), ("broken", 2)])
def test_the_openai_client_does_not_send_poison_again(
    address: Any, gateway: TestGateway, model: str, tries: int
) -> None:
    sent: list[httpx.Request] = []
    with openai.OpenAI(base_url=f"{address.url}/v1", api_key="none", max_retries=1) as client:
        real = client._client.send

        def send(request: httpx.Request, **options: Any) -> Any:
            sent.append(request)
            return real(request, **options)

        client._client.send = send  # type: ignore[method-assign, assignment]
        with pytest.raises(openai.InternalServerError):
            client.embeddings.create(model=model, input="a")
    assert len(sent) == tries


@pytest.mark.parametrize(
    ("tier", "told", "priority"),
    [
        (None, None, 0),
        ("auto", "default", 0),
        ("default", "default", 0),
        ("priority", "priority", 1),
        ("flex",) * 2 + (3,),
    ],
)
def test_the_service_tier_is_a_priority_and_is_told(
    http: httpx.Client, gateway: TestGateway, tier: str | None, told: str | None, priority: int
) -> None:
    for path in ("/v1/chat/completions", "/v1/completions"):
        body = PATHS[path] | {"service_tier": tier}
        assert http.post(path, json=body).json().get("service_tier") == told
        assert last_asked(gateway, path).priority == priority
        chunks = data_of(http.post(path, json=body | {"stream": True}).text)
        assert {chunk.get("service_tier") for chunk in chunks} == {told}
