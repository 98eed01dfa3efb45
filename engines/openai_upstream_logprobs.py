"""Logprobs of a streamed answer, in the two forms that the API has for them."""

from collections.abc import Mapping
from math import nan

from engines.errors import ExecutionError
from engines.generation import TokenLogprob
from engines.openai_upstream_chunks import WireLogprobs, WireToken


def read_logprobs(found: WireLogprobs, top: int) -> tuple[TokenLogprob, ...]:
    """Those of the tokens, each with the `top` likeliest."""
    if found.content is not None:
        return tuple(_token(one, top) for one in found.content)
    tokens = found.tokens or []
    values = found.token_logprobs or [None] * len(tokens)
    others = found.top_logprobs or [None] * len(tokens)
    if not len(tokens) == len(values) == len(others):
        raise ExecutionError("the upstream server sent logprobs of different lengths")
    return tuple(
        TokenLogprob(token, token.encode(), _value(value), _likeliest(more, top))
        for token, value, more in zip(tokens, values, others, strict=True)
    )


def _token(one: WireToken, top: int) -> TokenLogprob:
    try:
        raw = one.token.encode() if one.bytes is None else bytes(one.bytes)
    except ValueError:
        raise ExecutionError(f"the upstream server sent bytes of a token that are none: {one.bytes}") from None
    more = tuple(_token(other, 0) for other in (one.top_logprobs or ())[:top])
    return TokenLogprob(one.token, raw, _value(one.logprob), more)


def _likeliest(others: Mapping[str, float | None] | None, top: int) -> tuple[TokenLogprob, ...]:
    ranked = sorted((others or {}).items(), key=lambda pair: -_value(pair[1]))[:top]
    return tuple(TokenLogprob(token, token.encode(), _value(value)) for token, value in ranked)


def _value(logprob: float | None) -> float:
    """NaN for the first token of an echoed prompt, which has none; JSON writers make it null again."""
    return nan if logprob is None else logprob
