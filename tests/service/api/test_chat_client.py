"""The unmodified openai client, sync and async, with strict validation, against chat over the HTTP surface."""

from collections.abc import Sequence
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from engines.generation import Chat, Tool
from tests.service.api.models import TestGateway
from tests.service.api.talkers import METADATA, TEXT

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": TEXT}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Looks up {name}",
            "parameters": {"type": "object", "properties": {"account": {"type": "integer"}}},
            "strict": True,
        },
    }
    for name in ("balance", "cards")
]


@pytest.fixture
def client(strict: openai.OpenAI) -> openai.OpenAI:
    return strict


@pytest.fixture
def async_client(async_strict: openai.AsyncOpenAI) -> openai.AsyncOpenAI:
    return async_strict


def asked(gateway: TestGateway) -> Chat:
    """The chat that the gateway was last asked to continue."""
    assert gateway.talker.last is not None
    (chat,) = gateway.talker.last.call.prompts
    assert isinstance(chat, Chat)
    return chat


def joined(chunks: Sequence[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def test_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=HELLO)
    assert (answer.object, answer.model, answer.id[:9]) == ("chat.completion", "echo", "chatcmpl-")
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.content, choice.message.refusal) == ("assistant", TEXT, None)
    usage = answer.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 5, 12)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 3
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 2


@pytest.mark.parametrize("model", ["echo", "at_once"])
def test_stream(client: openai.OpenAI, model: str) -> None:
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    first, *pieces, last = chunks
    assert {(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks} == {
        (first.id, first.created, model, "chat.completion.chunk")
    }
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert [chunk.choices[0].delta.content for chunk in pieces] == [TEXT[i : i + 2] for i in range(0, len(TEXT), 2)]
    assert {chunk.choices[0].finish_reason for chunk in chunks[:-1]} == {None}
    assert (last.choices[0].finish_reason, last.choices[0].delta.content) == ("stop", None)
    assert {chunk.usage for chunk in chunks} == {None}


async def test_asyncio(async_client: openai.AsyncOpenAI) -> None:
    answer = await async_client.chat.completions.create(model="echo", messages=HELLO)
    assert answer.choices[0].message.content == TEXT
    stream = await async_client.chat.completions.create(model="echo", messages=HELLO, stream=True)
    assert joined([chunk async for chunk in stream]) == TEXT


def test_usage_of_a_stream(client: openai.OpenAI) -> None:
    *chunks, last = client.chat.completions.create(
        model="echo", messages=HELLO, stream=True, stream_options={"include_usage": True, "include_obfuscation": False}
    )
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.total_tokens) == (7, 12)


def test_several_answers(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=HELLO, n=3, max_completion_tokens=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {TEXT[:4]}
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    chunks = list(client.chat.completions.create(model="at_once", messages=HELLO, n=3, stream=True))
    assert [joined(chunks, index) for index in range(3)] == [TEXT] * 3
    assert sum(choice.delta.role is not None for chunk in chunks for choice in chunk.choices) == 3


def test_reasoning(client: openai.OpenAI) -> None:
    message = client.chat.completions.create(model="thinker", messages=HELLO).choices[0].message
    assert (message.content, message.model_extra) == ("Four.", {"reasoning_content": "Let me think."})
    chunks = list(client.chat.completions.create(model="thinker", messages=HELLO, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join((delta.model_extra or {}).get("reasoning_content", "") for delta in deltas) == "Let me think."
    assert joined(chunks) == "Four."


def test_tool_calls(client: openai.OpenAI, gateway: TestGateway) -> None:
    choice = client.chat.completions.create(
        model="caller", messages=HELLO, tools=TOOLS, tool_choice="required", parallel_tool_calls=False
    ).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "One moment.")
    assert [call.model_dump() for call in choice.message.tool_calls or ()] == [
        {"id": "call_1", "type": "function", "function": {"name": "balance", "arguments": '{"account":1}'}},
        {"id": "call_2", "type": "function", "function": {"name": "cards", "arguments": "{}"}},
    ]
    chat = asked(gateway)
    assert (chat.tool_choice, chat.must_call, chat.parallel_tool_calls) == ("required", "", False)
    schema = {"type": "object", "properties": {"account": {"type": "integer"}}}
    assert chat.tools == (
        Tool("balance", "Looks up balance", schema, strict=True),
        Tool("cards", "Looks up cards", schema, strict=True),
    )


def test_tool_calls_in_a_stream(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="caller", messages=HELLO, tools=TOOLS, stream=True))
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].delta.tool_calls or ()]
    assert [(piece.index, piece.id, piece.type) for piece in pieces] == [
        (0, "call_1", "function"),
        (0, None, None),
        (0, None, None),
        (1, "call_2", "function"),
    ]
    functions = [(piece.index, piece.function) for piece in pieces if piece.function]
    assert [function.name for _, function in functions] == ["balance", None, None, "cards"]
    assert "".join(function.arguments or "" for index, function in functions if index == 0) == '{"account":1}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_clients_own_gatherer_of_streams(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="caller", messages=HELLO) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.content == "One moment."
    assert [call.function.arguments for call in message.tool_calls or ()] == ['{"account":1}', "{}"]


def test_only_tool_calls(client: openai.OpenAI, gateway: TestGateway) -> None:
    message = (
        client.chat.completions.create(
            model="only_caller",
            messages=HELLO,
            tools=TOOLS,
            tool_choice={"type": "function", "function": {"name": "cards"}},
        )
        .choices[0]
        .message
    )
    assert message.content is None
    assert (asked(gateway).tool_choice, asked(gateway).must_call) == ("required", "cards")


def test_an_empty_answer(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(model="empty", messages=HELLO).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("", "stop")
    chunks = list(client.chat.completions.create(model="empty", messages=HELLO, stream=True))
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, "stop"]


def test_logprobs(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(model="echo", messages=HELLO, logprobs=True, top_logprobs=2).choices[0]
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []
    assert "".join(token.token for token in tokens) == TEXT
    assert bytes(byte for token in tokens for byte in token.bytes or ()) == TEXT.encode()
    assert [(top.token, top.logprob, top.bytes) for top in tokens[0].top_logprobs] == [
        ("x", -2.5, [0x78]),
        ("y", -2.5, [0x79]),
    ]
    chunks = list(client.chat.completions.create(model="echo", messages=HELLO, logprobs=True, stream=True))
    streamed = [
        token
        for chunk in chunks
        for choices in [chunk.choices[0].logprobs]
        if choices
        for token in choices.content or ()
    ]
    assert [(token.token, token.logprob) for token in streamed] == [(token.token, token.logprob) for token in tokens]
    assert {tuple(token.top_logprobs) for token in streamed} == {()}
    assert joined(chunks) == TEXT


def test_a_logprob_that_json_cannot_hold(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(model="unlikely", messages=HELLO, logprobs=True, top_logprobs=1).choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert choice.logprobs.content[0].logprob == -9999.0
    assert choice.logprobs.content[0].top_logprobs[0].logprob == -9999.0


def test_what_a_pipeline_found_out(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="pipeline", messages=HELLO)
    assert raw.parse().metadata == METADATA
    assert raw.headers["x-batchyard-intent"] == "card_arrival"
    assert raw.headers["x-tpot-ms"] == "2.000"
    chunks = list(
        client.chat.completions.create(
            model="pipeline", messages=HELLO, n=2, stream=True, stream_options={"include_usage": True}
        )
    )
    assert [bool(chunk.model_extra) for chunk in chunks] == [False] * (len(chunks) - 2) + [True, False]
    assert chunks[-2].model_extra == {"metadata": dict(METADATA)}
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_an_error_in_a_stream_is_raised(client: openai.OpenAI) -> None:
    seen: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError, match="out of order"):
        seen.extend(client.chat.completions.create(model="breaks", messages=HELLO, stream=True))
    assert joined(seen) == "so far"


async def test_an_error_before_a_stream_is_raised(async_client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await async_client.chat.completions.create(model="full", messages=HELLO, stream=True)
    assert caught.value.response.headers["retry-after-ms"] == "250"


def test_models_that_generate_are_listed(client: openai.OpenAI) -> None:
    assert "echo" in {model.id for model in client.models.list()}
    assert client.models.retrieve("echo").id == "echo"
