"""The fields by which a request says how to generate, alike in all protocols, and what they mean."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from msgspec import Meta, Struct

from engines.generation import Options
from service.errors import InvalidRequestError
from service.generating import DEFAULT_PRIORITY, FLEX, LONGEST_STOP, MOST_ANSWERS, MOST_BIASES, MOST_STOPS, URGENT

_LONGEST_ID = 10
"""Digits of the largest token id, 2^31 - 1."""

_PRIORITIES: Mapping[str, int] = MappingProxyType({"priority": URGENT, "flex": FLEX})
"""Of OpenAI's service tiers that are not the default."""

Tokens = Annotated[int, Meta(ge=1, le=2**31 - 1)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Probability = Annotated[float, Meta(gt=0, le=1)]


class GenerationFields(Struct, kw_only=True, forbid_unknown_fields=True):
    """How to choose tokens. null is the default, everywhere. `top_k` -1 is none, as vLLM has it."""

    max_tokens: Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: _Probability | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    ignore_eos: bool | None = None


class StreamOptions(Struct, forbid_unknown_fields=True):
    """`include_usage`: a last chunk tells the usage. Obfuscation is not served."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class OpenAIFields(GenerationFields, kw_only=True):
    """What chat and completions have in common. `user` and `safety_identifier` are accepted and not used."""

    model: str
    n: Annotated[int, Meta(ge=1, le=MOST_ANSWERS)] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None
    user: str | None = None
    safety_identifier: str | None = None


def options_of(fields: GenerationFields) -> Options:
    """The options that `fields` stand for; raises `InvalidRequestError`."""
    return Options(
        max_tokens=fields.max_tokens,
        temperature=fields.temperature,
        top_p=fields.top_p,
        top_k=max(0, fields.top_k or 0),
        min_p=fields.min_p or 0.0,
        seed=None if fields.seed is None else fields.seed & (2**63 - 1),
        stop=_stops(fields.stop),
        presence_penalty=fields.presence_penalty or 0.0,
        frequency_penalty=fields.frequency_penalty or 0.0,
        repetition_penalty=fields.repetition_penalty or 1.0,
        ignore_eos=fields.ignore_eos or False,
    )


def _stops(given: str | list[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    stops = (given,) if isinstance(given, str) else tuple(given)
    if len(stops) > MOST_STOPS:
        raise InvalidRequestError(f"stop has {len(stops)} strings, the most is {MOST_STOPS}", "stop")
    if not all(stops):
        raise InvalidRequestError("stop holds an empty string; leave it out", "stop")
    if any(len(stop) > LONGEST_STOP for stop in stops):
        raise InvalidRequestError(f"stop holds a string of more than {LONGEST_STOP} characters; shorten it", "stop")
    return stops


def priority_of(fields: OpenAIFields) -> int:
    """The priority that the service tier stands for."""
    return _PRIORITIES.get(fields.service_tier or "", DEFAULT_PRIORITY)


def served_tier(fields: OpenAIFields) -> str:
    """The service tier that the answer tells, as OpenAI's does: what "auto" came to be; "" where none was named."""
    return "default" if fields.service_tier == "auto" else fields.service_tier or ""


def logit_bias_of(fields: OpenAIFields) -> Mapping[int, float]:
    """Token ids and what is added to their logits; raises `InvalidRequestError`."""
    given = fields.logit_bias or {}
    if len(given) > MOST_BIASES:
        raise InvalidRequestError(f"logit_bias has {len(given)} tokens, the most is {MOST_BIASES}", "logit_bias")
    return {_token_id(key): bias for key, bias in given.items()}


def _token_id(key: str) -> int:
    if not (key.isascii() and key.isdecimal() and len(key) <= _LONGEST_ID and int(key) < 2**31):
        raise InvalidRequestError(
            f"logit_bias has the key {key[:40]!r}; keys are token ids, whole numbers from 0 to {2**31 - 1}",
            "logit_bias",
        )
    return int(key)


def wants_usage(fields: OpenAIFields) -> bool:
    """Is a stream to end with the usage? Raises `InvalidRequestError` for what is wrong with `stream_options`."""
    options = fields.stream_options
    if options is None:
        return False
    if not fields.stream:
        raise InvalidRequestError("stream_options is only for streams; leave it out, or set stream", "stream_options")
    if options.include_obfuscation:
        raise InvalidRequestError(
            "stream_options.include_obfuscation is not served; leave it out", "stream_options.include_obfuscation"
        )
    return options.include_usage or False


def check_answers(prompts: int, n: int, most: int, param: str) -> None:
    """Raises `InvalidRequestError` where `prompts` times `n` answers are more than `most`."""
    if prompts * n > most:
        raise InvalidRequestError(
            f"{prompts} prompts, {n} answers each, are {prompts * n} answers; the most is {most} a request", param
        )
