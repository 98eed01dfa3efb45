"""Triton's generate extension over the HTTP surface."""

from typing import Any

import httpx
import pytest

from tests.service.api.models import TestGateway
from tests.service.api.streams import data_of
from tests.service.api.talkers import TEXT

PATHS = ("/v2/models/echo/generate", "/v2/models/echo/versions/1/generate")


@pytest.mark.parametrize("path", PATHS)
def test_whole(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={"text_input": TEXT, "id": "7"})
    version = "1" if "versions" in path else "2"
    assert answer.json() == {"model_name": "echo", "model_version": version, "id": "7", "text_output": TEXT}
    assert answer.headers["x-ttft-ms"] == "25.000"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", PATHS)
def test_stream(http: httpx.Client, path: str) -> None:
    pieces = data_of(http.post(f"{path}_stream", json={"text_input": TEXT}).text)
    version = "1" if "versions" in path else "2"
    assert pieces == [
        {"model_name": "echo", "model_version": version, "text_output": TEXT[i : i + 2]} for i in range(0, len(TEXT), 2)
    ]


PARAMETERS: dict[str, Any] = {
    "max_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 3,
    "min_p": 0.1,
    "seed": 11,
    "stop": ["x"],
    "presence_penalty": 1,
    "frequency_penalty": 1,
    "repetition_penalty": 1.5,
    "ignore_eos": True,
    "exclude_input_in_output": False,
    "priority": 3,
    "timeout": 5_000_000,
}


@pytest.mark.parametrize("place", ["beside", "within"])
def test_parameters(http: httpx.Client, gateway: TestGateway, place: str) -> None:
    before = gateway.clock()
    body = {"text_input": "a"} | (PARAMETERS if place == "beside" else {"parameters": PARAMETERS})
    http.post(PATHS[0], json=body | {"stream": False}).raise_for_status()
    request = gateway.talker.last
    assert request is not None
    options = request.call.options
    assert (options.max_tokens, options.temperature, options.top_p, options.top_k) == (5, 0.5, 0.9, 3)
    assert (options.min_p, options.seed, options.stop, options.ignore_eos) == (0.1, 11, ("x",), True)
    assert (options.presence_penalty, options.frequency_penalty, options.repetition_penalty) == (1, 1, 1.5)
    assert (options.echo, request.priority, request.call.prompts) == (True, 3, ("a",))
    assert before + 5 <= request.deadline <= gateway.clock() + 5


def test_the_input_is_not_in_the_output_by_default(http: httpx.Client, gateway: TestGateway) -> None:
    http.post(PATHS[0], json={"text_input": "a", "parameters": {}}).raise_for_status()
    assert gateway.talker.last is not None
    assert not gateway.talker.last.call.options.echo


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "missing required field `text_input`"),
        ({"text_input": ""}, "text_input is empty"),
        ({"text_input": ["a"]}, "got `array` - at `$.text_input`"),
        ({"text_input": "a", "bad_words": ["x"]}, "unknown field `bad_words`"),
        ({"text_input": "a", "parameters": {"beam_width": 2}}, "unknown field `beam_width`"),
        ({"text_input": "a", "parameters": {"n": 2}}, "unknown field `n`"),
        ({"text_input": "a", "parameters": {"seed": 1}, "seed": 1}, "seed is given twice"),
        ({"text_input": "a", "parameters": 5}, "$.parameters"),
        ({"text_input": "a", "temperature": 3}, "<= 2.0 - at `$.temperature`"),
        ({"text_input": "a", "parameters": {"max_tokens": 0}}, ">= 1 - at `$.parameters.max_tokens`"),
        ({"text_input": "a", "timeout": -1}, "$.timeout"),
        ({"text_input": "a", "id": 1}, "$.id"),
        ({"text_input": "a", "stream": True}, "ask /generate_stream"),
    ],
)
def test_bad_requests(http: httpx.Client, body: dict[str, Any], words: str) -> None:
    answer = http.post(PATHS[0], json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


def test_a_stream_that_is_no_stream(http: httpx.Client) -> None:
    answer = http.post(f"{PATHS[0]}_stream", json={"text_input": "a", "stream": False})
    assert (answer.status_code, "ask /generate for" in answer.text) == (400, True)
    assert http.post(f"{PATHS[0]}_stream", json={"text_input": "a", "stream": True}).status_code == 200


@pytest.mark.parametrize("path", ["/v2/models/unknown/generate", "/v2/models/echo/versions/9/generate_stream"])
def test_unknown_models(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={"text_input": "a"})
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]
