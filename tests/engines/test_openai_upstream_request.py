"""What another server is asked, as JSON."""

from typing import Any

import msgspec
import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.generation import Chat, GenerationCall, Message, Options, Tool, ToolCall
from engines.openai_upstream_request import RequestWriter
from engines.openai_upstream_settings import Defaults

WRITER = RequestWriter("m", Defaults())
USER = Message("user", "hi")
ALWAYS = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}


def written(call: GenerationCall, writer: RequestWriter = WRITER) -> tuple[str, dict[str, Any]]:
    path, body = writer.write(call)
    decoded: dict[str, Any] = msgspec.json.decode(body)
    assert ALWAYS.items() <= decoded.items()
    return path, {name: value for name, value in decoded.items() if name not in ALWAYS}


def sent(options: Options, writer: RequestWriter = WRITER) -> dict[str, Any]:
    body = written(GenerationCall(("hi",), options), writer)[1]
    del body["prompt"]
    return body


def test_nothing_is_sent_that_nobody_asked_for() -> None:
    assert sent(Options()) == {}


def test_all_sampling_options() -> None:
    options = Options(
        max_tokens=5,
        temperature=0.0,
        top_p=0.5,
        top_k=3,
        min_p=0.1,
        n=2,
        seed=0,
        stop=("a", "b"),
        presence_penalty=1.0,
        frequency_penalty=-1.0,
        repetition_penalty=1.5,
        logit_bias={7: -100.0},
        logprobs=0,
        ignore_eos=True,
    )
    assert sent(options) == {
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 3,
        "min_p": 0.1,
        "n": 2,
        "seed": 0,
        "stop": ["a", "b"],
        "presence_penalty": 1.0,
        "frequency_penalty": -1.0,
        "repetition_penalty": 1.5,
        "logit_bias": {"7": -100.0},
        "logprobs": 1,
        "ignore_eos": True,
    }


def test_defaults_of_the_configuration_give_way_to_the_caller() -> None:
    writer = RequestWriter("m", Defaults(max_tokens=9, temperature=0.2, top_p=0.3))
    assert sent(Options(), writer) == {"max_tokens": 9, "temperature": 0.2, "top_p": 0.3}
    assert sent(Options(max_tokens=1, temperature=0.0, top_p=1.0), writer) == {
        "max_tokens": 1,
        "temperature": 0.0,
        "top_p": 1.0,
    }


def test_llama_cpp_has_its_own_name_for_the_repetition_penalty() -> None:
    assert sent(Options(repetition_penalty=1.5), RequestWriter("m", Defaults(), "llamacpp")) == {"repeat_penalty": 1.5}


@pytest.mark.parametrize(
    ("prompts", "prompt"),
    [
        (("a",), "a"),
        (("a", "b"), ["a", "b"]),
        ((np.array([1, 2]),), [1, 2]),
        ((np.array([1]), np.array([2, 3])), [[1], [2, 3]]),
    ],
)
def test_prompts(prompts: tuple[Any, ...], prompt: object) -> None:
    assert written(GenerationCall(prompts)) == ("/completions", {"prompt": prompt})


def test_a_chat_with_all_kinds_of_messages() -> None:
    chat = Chat(
        (
            Message("system", "be kind"),
            Message("user", "hi", name="Ann"),
            Message("assistant", reasoning="hm", tool_calls=(ToolCall("c1", "pay", '{"eur":5}'),)),
            Message("tool", "done", tool_call_id="c1"),
        )
    )
    call = {"id": "c1", "type": "function", "function": {"name": "pay", "arguments": '{"eur":5}'}}
    assert written(GenerationCall((chat,))) == (
        "/chat/completions",
        {
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "hi", "name": "Ann"},
                {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
                {"role": "tool", "content": "done", "tool_call_id": "c1"},
            ]
        },
    )


def test_tools() -> None:
    tools = (Tool("pay", "Pays.", {"type": "object"}, strict=True), Tool("ask"))
    body = written(GenerationCall((Chat((USER,), tools, "required", parallel_tool_calls=False),)))[1]
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "pay", "description": "Pays.", "parameters": {"type": "object"}, "strict": True},
        },
        {"type": "function", "function": {"name": "ask", "parameters": {}}},
    ]
    assert body["tool_choice"] == "required"
    assert body["parallel_tool_calls"] is False
    body = written(GenerationCall((Chat((USER,), tools, must_call="ask"),)))[1]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "ask"}}


def test_a_chat_with_logprobs_and_a_schema() -> None:
    options = Options(logprobs=3, json_schema='{"type": "object"}')
    body = written(GenerationCall((Chat((USER,)),), options))[1]
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}


def test_echo_is_asked_for_only_where_it_cannot_be_written_here() -> None:
    assert sent(Options(echo=True)) == {}
    assert sent(Options(echo=True, logprobs=2)) == {"echo": True, "logprobs": 2}
    assert written(GenerationCall((np.array([1]),), Options(echo=True)))[1] == {"prompt": [1], "echo": True}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (GenerationCall(()), "there is no prompt"),
        (GenerationCall((Chat((USER,)), Chat((USER,)))), "can hold one chat"),
        (GenerationCall(("a", Chat((USER,)))), "a chat cannot share a request"),
        (GenerationCall(("a", np.array([1]))), "cannot be mixed"),
        (GenerationCall((Chat((USER,)),), Options(echo=True)), "leave echo out"),
        (GenerationCall((Chat((USER,)),), Options(json_schema="{")), "is no JSON"),
        (GenerationCall((Chat((USER,)),), Options(json_schema="[" * 100_000)), "is no JSON"),
        (GenerationCall((Chat((USER,)),), Options(json_schema="3")), "of type int; it must be an object"),
        (GenerationCall(("a",), Options(json_schema="{}")), "send a chat"),
        (GenerationCall(("half \ud83d",)), "half a character"),
    ],
)
def test_what_cannot_be_asked_is_refused(call: GenerationCall, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        WRITER.write(call)


def test_llama_cpp_would_ignore_an_echo() -> None:
    writer = RequestWriter("m", Defaults(), "llamacpp")
    with pytest.raises(InvalidInputError, match="leave echo out"):
        writer.write(GenerationCall((np.array([1]),), Options(echo=True)))
