"""The whole application with the echo model, over sockets: what the surface and the generator make of each other."""

import json
import random
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tokenizers import Tokenizer

from service.app import create_app
from service.settings import load_settings
from tests.service.api.serving import Address, serve
from tests.service.api.streams import events_of
from tests.service.api.talkers import TEXT
from tests.service.api.test_disconnect import post

ECHO = Path(__file__).parents[3] / "model_repository" / "echo"
CHAT = "/v1/chat/completions"
TEXT_INPUT = {"name": "text_input", "shape": [1], "datatype": "BYTES", "data": ["a"]}
LONG = "世界 grüßt 👩‍👩‍👧🇩🇪 \t\u2028\x00 e\u0301 " * 20
MODELS: dict[str, dict[str, object]] = {
    "echo": {},
    "narrow": {"echo.step_ms": 1, "generation.max_sequences": 2, "generation.max_waiting": 1},
    "wide": {"generation.window": 8192, "generation.max_sequences": 16},
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    root = tmp_path_factory.mktemp("models")
    for name, parameters in MODELS.items():
        text = (ECHO / "config.pbtxt").read_text("utf-8").replace('name: "echo"', f'name: "{name}"')
        for key, value in parameters.items():
            text += f'parameters {{ key: "batchyard.{key}" value {{ string_value: "{value}" }} }}\n'
        shutil.copytree(ECHO / "1", root / name / "1")
        (root / name / "config.pbtxt").write_text(text, "utf-8")
    settings = load_settings({"model_repository": [root], "stream_buffer": 2000, "pipelines": {}, "routes": {}})
    with serve(create_app(settings)) as address:
        yield address


@pytest.fixture
def http(app: Address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, timeout=30) as client:
        yield client


@pytest.fixture
def client(app: Address) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{app.url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def chat(text: str, model: str = "echo", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]} | more


@pytest.mark.parametrize("text", [TEXT, LONG])
def test_the_stream_is_the_whole(client: openai.OpenAI, text: str) -> None:
    whole = client.chat.completions.create(**chat(text, seed=1, n=2))
    assert [choice.message.content for choice in whole.choices] == [text] * 2
    chunks = list(client.chat.completions.create(**chat(text, seed=1, n=2, stream=True)))
    for index in range(2):
        choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in choices) == text
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 2 * len(text.encode())


def test_completions_and_generate_say_the_same(http: httpx.Client) -> None:
    body = {"model": "echo", "prompt": ["a b", TEXT], "max_tokens": 500, "echo": True}
    answer = http.post("/v1/completions", json=body).json()
    assert [choice["text"] for choice in answer["choices"]] == ["a ba b", TEXT + TEXT]
    parts = {0: "", 1: ""}
    for event in events_of(http.post("/v1/completions", json=body | {"stream": True}).text):
        if event.startswith("data: {"):
            choice = json.loads(event.removeprefix("data: "))["choices"][0]
            parts[choice["index"]] += choice["text"]
    assert list(parts.values()) == ["a ba b", TEXT + TEXT]
    asked = {"text_input": TEXT, "exclude_input_in_output": False}
    assert http.post("/v2/models/echo/generate", json=asked).json()["text_output"] == TEXT + TEXT


def test_token_ids(http: httpx.Client) -> None:
    ids = Tokenizer.from_file(str(ECHO / "1" / "tokenizer.json")).encode("grün").ids
    answer = http.post("/v1/completions", json={"model": "echo", "prompt": ids}).json()
    assert answer["choices"][0]["text"] == "grün"
    assert answer["usage"]["prompt_tokens"] == len(ids)


def test_stop_and_length(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(**chat("one two three", stop=["two"])).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("one ", "stop")
    choice = client.chat.completions.create(**chat("one two three", max_tokens=3)).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("one", "length")


def test_logprobs(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(**chat("a😀", logprobs=True, stream=True)))
    tokens = [token for chunk in chunks for part in [chunk.choices[0].logprobs] if part for token in part.content or ()]
    assert bytes(byte for token in tokens for byte in token.bytes or ()) == "a😀".encode()


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, chat("a" * 10_000_000), "messages"),
        (CHAT, chat("a" * 3_000_000), "messages"),
        (CHAT, chat("a", max_tokens=100_000), "max_tokens"),
        (CHAT, chat("a", logit_bias={"5": 1}), "logit_bias"),
        (CHAT, chat("a", top_k=5), "top_k"),
        (CHAT, chat("a", logprobs=True, top_logprobs=2), "top_logprobs"),
        (CHAT, chat("a", response_format={"type": "json_object"}), "response_format"),
        ("/v1/completions", {"model": "echo", "prompt": [5, 2**31 - 1]}, "prompt"),
        ("/v1/completions", {"model": "echo", "prompt": "a" * 3_000_000}, "prompt"),
        ("/v1/completions", {"model": "narrow", "prompt": "a", "n": 100}, "n"),
    ],
    ids=["10 MB", "3 MB", "window", "bias", "top_k", "tops", "json", "ids", "prompt", "n"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_this_model_cannot(http: httpx.Client, path: str, body: dict[str, Any], param: str, stream: bool) -> None:
    answer = http.post(path, json=body | {"stream": stream})
    assert answer.status_code == 400, answer.text[:500]
    assert answer.json()["error"]["param"] == param


def test_a_generator_does_not_infer_and_says_where_to_ask(http: httpx.Client) -> None:
    answer = http.post("/v2/models/echo/infer", json={"inputs": [TEXT_INPUT]})
    assert answer.status_code == 400
    assert "/v1/chat/completions" in answer.text
    answer = http.post("/v1/embeddings", json={"model": "echo", "input": "a"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


def test_generators_are_listed(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == set(MODELS)


def test_clients_cut_at_random_points_leave_their_places(app: Address, http: httpx.Client) -> None:
    """With two places and one to wait in, a place that stays taken would be missed soon."""
    chance = random.Random(5)
    for _ in range(30):
        body = chat("abc", "narrow", stream=True, max_tokens=5000, ignore_eos=True)
        request = post(CHAT, body)
        with app.connect() as connection:
            if chance.random() < 0.2:
                connection.sendall(request[: chance.randrange(len(request))])
                continue
            connection.sendall(request)
            if chance.random() < 0.7:
                connection.recv(chance.randrange(1, 3000))
    answer = http.post(CHAT, json=chat("x" * 50, "narrow", n=2))
    while answer.status_code == 429:  # the server hears of the last ones that left a moment later
        answer = http.post(CHAT, json=chat("x" * 50, "narrow", n=2))
    assert [choice["message"]["content"] for choice in answer.json()["choices"]] == ["x" * 50] * 2


def test_a_reader_that_does_not_read_keeps_nobody_waiting(app: Address, http: httpx.Client) -> None:
    """It takes every place of the model; another gets its turn because the one that does not read loses them."""
    body = chat("abc", "wide", stream=True, n=16, max_tokens=8000, ignore_eos=True)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect((app.host, app.port))
        connection.sendall(post(CHAT, body))
        first = connection.recv(1)
        assert http.post(CHAT, json=chat("hello", "wide")).json()["choices"][0]["message"]["content"] == "hello"
        rest = bytearray(first)
        while not rest.endswith(b"0\r\n\r\n"):
            rest += connection.recv(2**20)
    last = bytes(rest).split(b"data: ")[-1].split(b"\n\n")[0]
    assert json.loads(last)["error"]["code"] == "slow_reader"
