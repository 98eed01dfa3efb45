"""Cached text over sockets: every protocol's way in, callers that leave, a reload."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from service.app import create_app
from service.settings import load_settings
from tests.service.api.serving import Address, serve
from tests.service.api.streams import data_of
from tests.service.api.test_disconnect import post

ECHO = Path(__file__).parents[3] / "model_repository" / "echo"
CHAT = "/v1/chat/completions"
RESPONSE_CACHE = "response_cache { enable: true }\n"
SLOW = 'parameters { key: "batchyard.echo.step_ms" value { string_value: "5" } }\n'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def app(root: Path) -> Iterator[Address]:
    for name, more in (("echo", ""), ("cached", RESPONSE_CACHE), ("slow", RESPONSE_CACHE + SLOW)):
        shutil.copytree(ECHO, root / name)
        text = (ECHO / "config.pbtxt").read_text("utf-8").replace('name: "echo"', f'name: "{name}"')
        (root / name / "config.pbtxt").write_text(text + more, "utf-8")
    settings = {"model_repository": [root], "pipelines": {}, "routes": {}, "allow_control": True}
    with serve(create_app(load_settings(settings))) as address:
        yield address


@pytest.fixture
def http(app: Address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, timeout=30) as client:
        yield client


def chat(text: str, model: str = "cached", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0} | more


def test_streamed_or_whole_is_one_entry(http: httpx.Client) -> None:
    first = http.post(CHAT, json=chat("héllo 😀", stream=True, stream_options={"include_usage": True}))
    second = http.post(CHAT, json=chat("héllo 😀"))
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    streamed = "".join(c["delta"].get("content") or "" for chunk in data_of(first.text) for c in chunk["choices"])
    answer = second.json()
    assert streamed == answer["choices"][0]["message"]["content"] == "héllo 😀"
    assert data_of(first.text)[-1]["usage"] == answer["usage"]
    assert answer["id"] != data_of(first.text)[0]["id"]
    assert int(second.headers["age"]) >= 0
    assert float(second.headers["x-queue-ms"]) == 0


def test_completions_and_generate(http: httpx.Client) -> None:
    asked = {"model": "cached", "prompt": ["a b", "c"], "max_tokens": 50, "seed": 7, "echo": True}
    answers = [http.post("/v1/completions", json=asked) for _ in range(2)]
    assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit"]
    assert answers[0].json()["choices"] == answers[1].json()["choices"]
    generate = {"text_input": "to generate", "parameters": {"temperature": 0}}
    whole = http.post("/v2/models/cached/generate", json=generate)
    streamed = http.post("/v2/models/cached/generate_stream", json=generate)
    assert (whole.headers["x-cache"], streamed.headers["x-cache"]) == ("miss", "hit")
    assert "".join(data["text_output"] for data in data_of(streamed.text)) == whole.json()["text_output"]


def test_the_openai_client_streams_a_hit(app: Address) -> None:
    with openai.OpenAI(
        base_url=f"{app.url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        chunks = [list(client.chat.completions.create(**chat("x" * 100, n=2, stream=True))) for _ in range(2)]
    texts = [
        ["".join(c.delta.content or "" for chunk in one for c in chunk.choices if c.index == index) for index in (0, 1)]
        for one in chunks
    ]
    assert texts == [["x" * 100] * 2] * 2
    assert len(chunks[1]) == len(chunks[0]) > 100


def test_what_is_not_cached_says_nothing(http: httpx.Client) -> None:
    for body in (chat("hi", "echo"), chat("hi", temperature=0.5)):
        for _ in range(2):
            assert "x-cache" not in http.post(CHAT, json=body).headers


def test_cache_control(http: httpx.Client) -> None:
    assert http.post(CHAT, json=chat("mine")).headers["x-cache"] == "miss"
    assert http.post(CHAT, json=chat("mine"), headers={"cache-control": "no-cache"}).headers["x-cache"] == "miss"
    assert "x-cache" not in http.post(CHAT, json=chat("mine"), headers={"cache-control": "no-store"}).headers
    assert http.post(CHAT, json=chat("mine")).headers["x-cache"] == "hit"


def test_the_first_caller_leaves_and_the_second_gets_all(app: Address, http: httpx.Client) -> None:
    asked = chat("a" * 100, "slow", stream=True)
    with app.connect() as connection:
        connection.sendall(post(CHAT, asked))
        assert b"x-cache: miss" in connection.recv(4096)
        with http.stream("POST", CHAT, json=asked) as second:
            assert second.headers["x-cache"] == "coalesced"
            connection.close()
            text = "".join(
                choice["delta"].get("content") or ""
                for line in second.iter_lines()
                if line.startswith("data: {")
                for choice in json.loads(line.removeprefix("data: "))["choices"]
            )
    assert text == "a" * 100
    assert http.post(CHAT, json=asked).headers["x-cache"] == "hit"


def test_a_reload_with_other_files_forgets(http: httpx.Client, root: Path) -> None:
    assert http.post(CHAT, json=chat("again")).headers["x-cache"] == "miss"
    http.post("/v2/repository/models/cached/load", json={}).raise_for_status()
    assert http.post(CHAT, json=chat("again")).headers["x-cache"] == "hit"
    config = root / "cached" / "config.pbtxt"
    config.write_text(config.read_text("utf-8") + "# another\n" + SLOW.replace("5", "0"), "utf-8")
    http.post("/v2/repository/models/cached/load", json={}).raise_for_status()
    assert http.post(CHAT, json=chat("again")).headers["x-cache"] == "miss"


def test_hits_are_counted_and_are_no_generations(http: httpx.Client) -> None:
    before = counts(http)
    for _ in range(3):
        http.post(CHAT, json=chat("counted"))
    assert [after - count for after, count in zip(counts(http), before, strict=True)] == [2, 1, 1]


def counts(http: httpx.Client) -> list[float]:
    """Hits, misses, and answers that were generated."""
    lines = dict(line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines() if "batchyard_" in line)
    names = ("cache_hits_total", "cache_misses_total", "generation_tokens_count")
    return [float(lines.get(f'batchyard_{name}{{model="cached",version="1"}}', 0)) for name in names]
