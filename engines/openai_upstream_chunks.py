"""The JSON of a streamed answer, chat and plain, with the fields that are read; others are skipped."""

from typing import Any

from msgspec import Struct


class WireToken(Struct):
    """A token and its logprob, `top_logprobs` the likeliest in its place."""

    token: str
    logprob: float | None = None
    bytes: list[int] | None = None
    top_logprobs: "list[WireToken] | None" = None


class WireLogprobs(Struct):
    """`content`: of chats, and of some servers' plain completions; the other fields: of plain completions."""

    content: list[WireToken] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float | None] | None] | None = None


class WireFunction(Struct):
    """A piece of a called function."""

    name: str | None = None
    arguments: str | None = None


class WireToolCall(Struct):
    """A piece of a tool call; `index` says of which."""

    index: int | None = None
    id: str | None = None
    function: WireFunction | None = None


class WireDelta(Struct):
    """What is new in a chat's answer. Reasoning has one of two names."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[WireToolCall] | None = None


class Choice(Struct):
    """A piece of one answer: a `delta` of a chat, or `text`."""

    index: int = 0
    delta: WireDelta | None = None
    text: str | None = None
    logprobs: WireLogprobs | None = None
    finish_reason: str | None = None


class PromptDetails(Struct):
    """Where a prompt's tokens came from."""

    cached_tokens: int | None = None


class CompletionDetails(Struct):
    """What an answer's tokens were for."""

    reasoning_tokens: int | None = None


class WireUsage(Struct):
    """Tokens of all answers, or of one (see `AnswerReader`)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Chunk(Struct):
    """One event of a stream. `error`, or `object` "error" with a `message`: something went wrong."""

    choices: list[Choice] | None = None
    usage: WireUsage | None = None
    error: Any = None
    object: str | None = None
    message: str | None = None
