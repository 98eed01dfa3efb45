"""What all OpenAI answers of generated text have in common."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

import orjson

from engines.generation import TokenLogprob, Usage

Json = dict[str, Any]

_LEAST_LOGPROB = -9999.0
"""OpenAI's word for "very unlikely"; JSON knows no infinity."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every object of one answer repeats. `model`: the name that was asked for. `service_tier`: "" for none."""

    id: str
    object: str
    created: int
    model: str
    service_tier: str = ""

    def fields(self) -> Json:
        """The fields, as JSON has them."""
        fields: Json = {"id": self.id, "object": self.object, "created": self.created, "model": self.model}
        return fields | {"service_tier": self.service_tier} if self.service_tier else fields

    def opening(self) -> bytes:
        """The JSON of these fields, up to and with the comma behind them."""
        return orjson.dumps(self.fields())[:-1] + b","


def new_envelope(prefix: str, kind: str, model: str, service_tier: str) -> Envelope:
    """For an answer that begins now. `prefix` of its id, `kind` of object."""
    return Envelope(prefix + secrets.token_hex(12), kind, int(time.time()), model, service_tier)


def usage_fields(usage: Usage) -> Json:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def finite(logprob: float) -> float:
    """A logprob that JSON can hold."""
    return logprob if logprob > _LEAST_LOGPROB else _LEAST_LOGPROB


def chat_logprobs(tokens: tuple[TokenLogprob, ...] | list[TokenLogprob]) -> Json:
    """The logprobs of a chat choice."""
    content = [_token(token) | {"top_logprobs": [_token(other) for other in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def _token(token: TokenLogprob) -> Json:
    return {"token": token.token, "logprob": finite(token.logprob), "bytes": list(token.bytes)}
