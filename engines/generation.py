"""The words of text generation that engines and the service share: what is asked for, and what flows back."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from engines.text import TokenIds

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls"]
ToolChoice = Literal["none", "auto", "required"]
Feature = Literal[
    "frequency_penalty",
    "json_schema",
    "logit_bias",
    "logprobs",
    "min_p",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "tools",
    "top_k",
    "top_logprobs",
]
"""What an engine may or may not be able to do. `logprobs`: of the chosen token; `top_logprobs`: of others, too."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model made. `arguments`: JSON, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat. `tool_call_id`: of a tool's message, the call that it answers."""

    role: Role
    content: str = ""
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `parameters`: the JSON schema of its arguments, an object."""

    name: str
    description: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation to be continued. `must_call`: the name of the one tool to call, "" where none is named."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    must_call: str = ""
    parallel_tool_calls: bool = True


Prompt = Chat | str | TokenIds
"""A chat, a text to go on with, or its token ids, INT64 [tokens]."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to generate; None leaves a choice to the model's configuration.

    `max_tokens`: the most tokens of each answer. `temperature` 0 is greedy. `n`: answers to each prompt. `top_k` 0: no
    such limit. `logprobs` None: none are wanted; 0: those of the chosen tokens; k: of the k likeliest, too.
    `json_schema` "": the text is free. `echo`: the answer starts with the prompt. `ignore_eos`: go on to `max_tokens`.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int = 0
    min_p: float = 0.0
    n: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    json_schema: str = ""
    echo: bool = False
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The natural logarithm of a token's probability. `top`: the likeliest tokens there, of which each has no `top`."""

    token: str
    bytes: bytes
    logprob: float
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of call number `index` of an answer; `id` and `name` come with its first piece."""

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """What is new in answer number `index`: whole characters of its text, its reasoning or its tool calls."""

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """Answer number `index` is complete."""

    index: int
    reason: FinishReason


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a whole request, once all its answers are complete. `cached_tokens`: of the prompts, those reused."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


Event = Delta | Finish | Usage


@dataclass(frozen=True, slots=True)
class GenerationCall:
    """One request to generate: prompts (several only for plain texts and token ids), answered `options.n` times each.

    Answer number `i * n + j` is the j-th to prompt i.
    """

    prompts: tuple[Prompt, ...]
    options: Options = Options()


class RemoteGenerator(Protocol):
    """Another server generates. Used on the event loop; raises `EngineError` only."""

    features: frozenset[Feature]

    async def open(self) -> None:
        """Checks that the server can be reached and has the model; raises `ModelLoadError`."""

    def stream(self, call: GenerationCall, timeout: float) -> AsyncGenerator[Sequence[Event], None]:
        """Deltas and finishes as they come, `Usage` last. `timeout`: seconds for all of it. `aclose` ends the request
        upstream at once; nothing is read ahead of the consumer."""

    async def close(self) -> None:
        """Closes all connections; may be called twice."""
