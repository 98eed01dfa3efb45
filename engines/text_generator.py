"""The contract of engines that generate tokens and batch by iteration themselves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from engines.base import EngineOptions
from engines.generation import Feature, Tool
from engines.text import TokenIds

RequestId = int


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the tokens of one answer are chosen, with nothing left open; see `engines.generation.Options`."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True)
class Grammar:
    """What the text must look like.

    `json_schema`: a JSON value of that schema; "" where `tools` decide. `tools`: calls written as the model's chat
    template asks, each `begin` + arguments + `end` (see `ToolSyntax`). `only_calls`: nothing but calls, at least one;
    else free text until a call begins. `many`: more than one call may follow.
    """

    json_schema: str = ""
    tools: tuple[Tool, ...] = ()
    only_calls: bool = False
    many: bool = True


@dataclass(frozen=True, slots=True)
class ToolSyntax:
    """How a model writes a call: `begin`, {"name": ..., "arguments": ...}, `end`."""

    begin: str = "<tool_call>\n"
    end: str = "\n</tool_call>"


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One answer to generate. `prompt`: INT64 [tokens], at least one."""

    prompt: TokenIds
    sampling: Sampling
    grammar: Grammar | None = None


@dataclass(frozen=True, slots=True)
class ChosenToken:
    """A token with its logprob, and the likeliest tokens there as pairs of id and logprob."""

    id: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """What a step brought for one request.

    `tokens`: new ones, without the end-of-text token that ended it. `finish` "": it goes on. `cached_tokens`: of the
    prompt, those whose keys and values were reused; said with the first tokens.
    """

    request_id: RequestId
    tokens: tuple[ChosenToken, ...] = ()
    finish: Literal["", "stop", "length"] = ""
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class GeneratorLimits:
    """What an engine holds. `window`: tokens of one prompt and its answer. `kv_tokens`: those of all that runs at once.

    `sequences`: answers that run at once. `kv_block`: tokens that its cache is divided into.
    """

    window: int
    kv_tokens: int
    sequences: int
    kv_block: int = 1


class TextGenerator(Protocol):
    """Generates for many requests at once, a token each a step; owned by one thread; raises `EngineError` only."""

    limits: GeneratorLimits
    features: frozenset[Feature]

    def warm_up(self) -> None:
        """Runs what a first caller would wait for: the shapes of prompts and steps, and the grammar compiler."""

    def check(self, request: GenerationRequest) -> None:
        """Raises `InvalidInputError` for a request that would fail, its grammar included. Quick; any thread."""

    def add(self, request: GenerationRequest) -> RequestId:
        """Takes a checked request; the caller keeps within `limits`. Ids are never used twice."""

    def step(self) -> Sequence[TokenEvent]:
        """Runs one iteration over all that was added. An error other than `InvalidInputError` leaves the engine broken:
        close it and open another."""

    def cancel(self, request_id: RequestId) -> None:
        """Drops a request before the next step; no event of it follows. Unknown and finished ones are ignored."""

    def close(self) -> None:
        """Frees the device; may be called twice."""


GeneratorCreator = Callable[[EngineOptions], TextGenerator]
"""Opens a generator; imports its SDK inside; raises `ModelLoadError` or `MissingBackendError`."""
