"""The semantic cache over sockets: the shipped encoder and classifier, `echo` to chat with, two tenants."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.settings import load_settings
from tests.service.api.serving import Address, serve
from tests.service.api.streams import data_of

SHIPPED = Path(__file__).parents[3] / "model_repository"
CHAT = "/v1/chat/completions"
SEMANTIC = {"encoder": "minilm", "classifier": "intent", "threshold": 0.8, "sample": 0.0}
NAMES: dict[str, dict[str, object]] = {
    "chat": SEMANTIC,
    "strict": SEMANTIC | {"threshold": 0.999},
    "checked": SEMANTIC | {"sample": 1.0, "alike": 0.5},
    "doubted": SEMANTIC | {"sample": 1.0, "alike": 1.0, "least_samples": 2},
    "blind": SEMANTIC | {"encoder": "nothing"},
}
DESK = {
    "model": "echo",
    "classifier": "intent",
    "system": "You work for a bank.",
    "policies": SHIPPED.parent / "pipelines" / "bank.toml",
    "cache": True,
}
LOST = ("I lost my card, what should I do?", "I have lost my card. What do I do?")
"""Two messages that mean the same."""
PATIENCE = 20


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    if not any((SHIPPED / "minilm_onnx").glob("[0-9]*/*")):
        pytest.skip("the shipped models are not built: run `batchyard build`")
    root = tmp_path_factory.mktemp("models")
    for name in ("minilm_onnx", "intent_head", "intent", "echo"):
        shutil.copytree(SHIPPED / name, root / name)
    tenants = {
        name: {"keys": [hashlib.sha256(name.encode()).hexdigest()], "scopes": ["infer", "metrics"]} for name in "ab"
    }
    routes = {name: {"variants": ["echo"], "cache": True} for name in NAMES}
    settings = load_settings(
        {
            "model_repository": [root],
            "routes": routes | {"minilm": {"variants": ["minilm_onnx"]}},
            "pipelines": {"desk": DESK},
            "semantic": NAMES | {"desk": SEMANTIC},
            "tenants": tenants,
        }
    )
    with serve(create_app(settings)) as address:
        yield address


@pytest.fixture
def http(app: Address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, timeout=30, headers={"authorization": "Bearer a"}) as client:
        yield client


def body(text: str, model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0} | more


def ask(http: httpx.Client, text: str, model: str = "chat", key: str = "a", **more: Any) -> tuple[str, str]:
    """What the cache had to do with it, and the answer: echo says the question that it was asked."""
    answer = http.post(CHAT, json=body(text, model, **more), headers={"authorization": f"Bearer {key}"})
    answer.raise_for_status()
    return answer.headers.get("x-cache", ""), answer.json()["choices"][0]["message"]["content"]


def test_a_question_that_means_the_same_gets_the_same_answer(http: httpx.Client) -> None:
    assert ask(http, LOST[0], seed=1) == ("miss", LOST[0])
    assert ask(http, LOST[0], seed=1) == ("hit", LOST[0])
    assert ask(http, LOST[1], seed=1) == ("semantic", LOST[0])
    answer = http.post(CHAT, json=body(LOST[1], "chat", seed=1))
    assert 0.8 <= float(answer.headers["x-cache-similarity"]) < 1
    assert int(answer.headers["age"]) >= 0


def test_a_stream_of_it(http: httpx.Client) -> None:
    ask(http, LOST[0], seed=2)
    with openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="a", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(**body(LOST[1], "chat", seed=2, stream=True))
        chunks = list(raw.parse())
    assert raw.headers["x-cache"] == "semantic"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == LOST[0]
    assert len(chunks) > 10
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_pipeline_tells_what_it_found_out(http: httpx.Client) -> None:
    answers = [http.post(CHAT, json=body(text, "desk", seed=6)) for text in (LOST[0], LOST[0], LOST[1])]
    assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit", "semantic"]
    for name in ("x-model", "x-engine", "x-batchyard-intent", "x-batchyard-confidence", "x-batchyard-policy"):
        assert len({answer.headers[name] for answer in answers}) == 1
    assert answers[0].headers["x-model"] == "desk:1"
    assert answers[0].json()["choices"] == answers[1].json()["choices"] == answers[2].json()["choices"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I was charged $10 for a withdrawal", "I was charged $20 for a withdrawal"),
        ("My card ending 1234 was declined", "My card ending 9876 was declined"),
        ("My transfer of 4 July has not arrived", "My transfer of 5 July has not arrived"),
        ("Why was my top up reverted?", "How do I top up by bank transfer?"),
        ("Can I get a refund?", "Can't I get a refund?"),
    ],
)
def test_questions_that_differ_in_what_counts(http: httpx.Client, one: str, other: str) -> None:
    assert ask(http, one, seed=3) == ("miss", one)
    assert ask(http, other, seed=3) == ("miss", other)


@pytest.mark.parametrize(
    "other",
    [
        {"key": "b"},
        {"seed": 41},
        {"max_tokens": 5},
        {"n": 2},
        {"logprobs": True},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": LOST[1]}]},
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": LOST[1]},
            ]
        },
        {"model": "strict"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_tenant_or_another_conversation(http: httpx.Client, other: dict[str, Any]) -> None:
    ask(http, LOST[0], seed=4)
    model, key = other.get("model", "chat"), other.get("key", "a")
    more = {"seed": 4} | {name: value for name, value in other.items() if name not in ("model", "key")}
    assert ask(http, LOST[1], model, key, **more)[0] == "miss"


def test_what_depends_on_chance_is_never_told_again(http: httpx.Client) -> None:
    for _ in range(2):
        assert ask(http, LOST[0], temperature=0.5) == ("", LOST[0])


def test_without_its_encoder_all_is_answered(http: httpx.Client) -> None:
    assert ask(http, LOST[0], "blind") == ("miss", LOST[0])
    assert ask(http, LOST[1], "blind") == ("miss", LOST[1])


def test_a_sample_is_checked_and_agrees(http: httpx.Client) -> None:
    ask(http, LOST[0], "checked")
    assert ask(http, LOST[1], "checked") == ("semantic", LOST[0])
    until(http, 'batchyard_semantic_checks_total{name="checked",outcome="agreed"}', 1)
    assert metric(http, 'batchyard_semantic_agreement{name="checked"}') == 1
    assert ask(http, LOST[1], "checked") == ("hit", LOST[1])  # it was answered anew


def test_below_its_floor_it_turns_itself_off(http: httpx.Client) -> None:
    differed = 'batchyard_semantic_checks_total{name="doubted",outcome="differed"}'
    for checks in (1, 2):
        ask(http, LOST[0], "doubted", seed=checks)
        assert ask(http, LOST[1], "doubted", seed=checks)[0] == "semantic"
        until(http, differed, checks)
    assert metric(http, 'batchyard_semantic_off{name="doubted"}') == 1
    ask(http, LOST[0], "doubted", seed=3)
    assert ask(http, LOST[1], "doubted", seed=3) == ("miss", LOST[1])
    assert ask(http, LOST[1], "doubted", seed=3) == ("hit", LOST[1])


def test_the_cached_stream_is_the_stream(http: httpx.Client) -> None:
    asked = body(
        "Where is my card? " * 20, "chat", stream=True, stream_options={"include_usage": True}, n=2, logprobs=True
    )
    first, second = (http.post(CHAT, json=asked) for _ in range(2))
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    assert first.headers["x-model"] == second.headers["x-model"] == "echo:1"
    one, other = (
        [
            {name: value for name, value in chunk.items() if name not in ("id", "created")}
            for chunk in data_of(answer.text)
        ]
        for answer in (first, second)
    )
    assert one == other
    assert data_of(first.text)[0]["id"] != data_of(second.text)[0]["id"]


def metric(http: httpx.Client, name: str) -> float:
    for family in text_string_to_metric_families(http.get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
            if f"{sample.name}{{{labels}}}" == name:
                return sample.value
    return 0.0


def until(http: httpx.Client, name: str, value: float) -> None:
    """Waits until a check in the background has come to its end."""
    end = time.monotonic() + PATIENCE
    while metric(http, name) < value:
        assert time.monotonic() < end, f"{name} did not reach {value}"
