"""The unmodified openai client, sync and async, against completions over the HTTP surface.

A piece of a streamed completion has the finish_reason null, as OpenAI sends it. The client's own type knows no null
there, so its strict validation refuses OpenAI's streams too; here streams are validated by a type that does.
"""

from typing import Any, Literal

import numpy as np
import openai
import pytest
from openai._models import validate_type
from openai.types import Completion, CompletionChoice

from service.api.openai_completions_messages import CompletionRequest
from tests.service.api.models import TestGateway
from tests.service.api.talkers import METADATA, TEXT


class ChunkChoice(CompletionChoice):
    finish_reason: Literal["stop", "length"] | None  # type: ignore[assignment]


class Chunk(Completion):
    choices: list[ChunkChoice]  # type: ignore[assignment]


def checked(chunks: list[Completion]) -> list[Completion]:
    """The chunks, once a strict type has taken them."""
    for chunk in chunks:
        validate_type(type_=Chunk, value=chunk.to_dict())
    return chunks


def joined(chunks: list[Completion], index: int = 0) -> str:
    return "".join(choice.text for chunk in chunks for choice in chunk.choices if choice.index == index)


def test_whole(strict: openai.OpenAI) -> None:
    answer = strict.completions.create(model="echo", prompt=TEXT)
    assert (answer.object, answer.model, answer.id[:5]) == ("text_completion", "echo", "cmpl-")
    (choice,) = answer.choices
    assert (choice.index, choice.text, choice.finish_reason, choice.logprobs) == (0, TEXT, "stop", None)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (7, 12)


@pytest.mark.parametrize("model", ["echo", "at_once"])
def test_stream(client: openai.OpenAI, model: str) -> None:
    chunks = checked(list(client.completions.create(model=model, prompt=TEXT, stream=True)))
    assert joined(chunks) == TEXT
    assert [chunk.choices[0].text for chunk in chunks[:-1]] == [TEXT[i : i + 2] for i in range(0, len(TEXT), 2)]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert {(chunk.id, chunk.object, chunk.model) for chunk in chunks} == {(chunks[0].id, "text_completion", model)}


async def test_asyncio(async_client: openai.AsyncOpenAI) -> None:
    answer = await async_client.completions.create(model="echo", prompt=TEXT)
    assert answer.choices[0].text == TEXT
    stream = await async_client.completions.create(model="echo", prompt=TEXT, stream=True)
    assert joined([chunk async for chunk in stream]) == TEXT


def test_usage_of_a_stream(client: openai.OpenAI) -> None:
    stream = client.completions.create(model="echo", prompt=TEXT, stream=True, stream_options={"include_usage": True})
    *chunks, last = checked(list(stream))
    assert {chunk.usage for chunk in chunks} == {None}
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 5


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2, 3], ["1 2 3"]),
        ([[1, 2], [3]], ["1 2", "3"]),
    ],
)
def test_prompts(strict: openai.OpenAI, gateway: TestGateway, prompt: Any, texts: list[str]) -> None:
    answer = strict.completions.create(model="echo", prompt=prompt, n=2)
    assert [(choice.index, choice.text) for choice in answer.choices] == [
        (2 * i + j, text) for i, text in enumerate(texts) for j in range(2)
    ]
    assert gateway.talker.last is not None
    for given in gateway.talker.last.call.prompts:
        assert isinstance(given, str) or (isinstance(given, np.ndarray) and given.dtype == np.int64)
    chunks = checked(list(strict.completions.create(model="empty", prompt="a", stream=True)))
    assert [chunk.choices[0].finish_reason for chunk in chunks] == ["stop"]


def test_several_prompts_in_a_stream(client: openai.OpenAI) -> None:
    chunks = list(client.completions.create(model="echo", prompt=["ä", "ö"], n=2, stream=True))
    assert [joined(chunks, index) for index in range(4)] == ["ä", "ä", "ö", "ö"]


def test_defaults(client: openai.OpenAI, gateway: TestGateway) -> None:
    client.completions.create(model="echo", prompt=TEXT)
    assert gateway.talker.last is not None
    plain = gateway.talker.last.call
    assert (plain.options.max_tokens, plain.options.echo, plain.options.logprobs) == (16, False, None)
    nulls = dict.fromkeys(set(CompletionRequest.__struct_fields__) - {"model", "prompt"})
    client.post("/completions", cast_to=object, body={"model": "echo", "prompt": TEXT} | nulls)
    assert gateway.talker.last.call == plain


def test_all_that_a_caller_may_say(client: openai.OpenAI, gateway: TestGateway) -> None:
    client.completions.create(
        model="echo",
        prompt=TEXT,
        best_of=2,
        n=2,
        echo=True,
        frequency_penalty=1,
        logit_bias={"5": 1},
        max_tokens=3,
        presence_penalty=1,
        seed=5,
        stop="x",
        temperature=0,
        top_p=1,
        user="u",
        extra_body={"top_k": -1, "min_p": 0, "safety_identifier": "s"},
    )
    assert gateway.talker.last is not None
    options = gateway.talker.last.call.options
    assert (options.echo, options.n, options.max_tokens, options.seed) == (True, 2, 3, 5)
    assert (options.stop, options.temperature, options.top_p, options.top_k) == (("x",), 0, 1, 0)
    assert (options.logit_bias, options.presence_penalty, options.frequency_penalty) == ({5: 1}, 1, 1)


def test_logprobs(strict: openai.OpenAI, client: openai.OpenAI) -> None:
    found = strict.completions.create(model="echo", prompt=TEXT, logprobs=2).choices[0].logprobs
    assert found is not None
    tokens = [TEXT[i : i + 2] for i in range(0, len(TEXT), 2)]
    assert found.tokens == tokens
    assert found.token_logprobs == [-0.25] * len(tokens)
    assert found.text_offset == list(range(0, len(TEXT), 2))
    assert found.top_logprobs == [{"x": -2.5, "y": -2.5, token: -0.25} for token in tokens]
    chunks = checked(list(client.completions.create(model="echo", prompt=TEXT, logprobs=2, stream=True)))
    streamed = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.logprobs]
    assert [one for part in streamed for one in part.tokens or ()] == tokens
    assert [one for part in streamed for one in part.text_offset or ()] == found.text_offset


def test_logprobs_of_the_chosen_tokens_only(strict: openai.OpenAI) -> None:
    found = strict.completions.create(model="echo", prompt="ab", logprobs=0).choices[0].logprobs
    assert found is not None
    assert (found.tokens, found.token_logprobs, found.top_logprobs) == (["ab"], [-0.25], None)


def test_offsets_of_tokens_that_share_a_character(strict: openai.OpenAI) -> None:
    choice = strict.completions.create(model="split_character", prompt="x", logprobs=0).choices[0]
    assert choice.text == "a😀b"
    assert choice.logprobs is not None
    assert choice.logprobs.text_offset == [0, 1, 1, 2]


def test_what_a_pipeline_found_out(strict: openai.OpenAI, client: openai.OpenAI) -> None:
    assert strict.completions.create(model="pipeline", prompt="a").model_extra == {"metadata": dict(METADATA)}
    chunks = list(client.completions.create(model="pipeline", prompt="a", stream=True))
    assert chunks[-1].model_extra == {"metadata": dict(METADATA)}


def test_an_error_in_a_stream_is_raised(client: openai.OpenAI) -> None:
    seen: list[Completion] = []
    with pytest.raises(openai.APIError, match="out of order"):
        seen.extend(client.completions.create(model="breaks", prompt="a", stream=True))
    assert joined(seen) == "so far"
