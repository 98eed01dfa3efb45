"""`x-explain`: why a request was answered as it was, in one header of JSON."""

from collections.abc import Iterator, Mapping, Sequence

import orjson

from service.api.reply import Header
from service.generating import Generation
from service.types import NOT_CACHED, Cached, Candidate, InferResponse, Prediction, Routed

LONGEST = 4096
"""Bytes of the header: proxies and clients take 8 KB of headers in all, by default."""
_LONGEST_TEXT = 160
"""Characters of a verdict or a reason."""
_NO_CACHE = "off"

Json = dict[str, object]


def explain_answer(response: InferResponse) -> Header:
    """The explanation of an answer. Milliseconds throughout; `neighbours`: requests that shared its batch."""
    timing = response.timing
    padding = max(0, timing.batch_slots - timing.batch_tokens)
    facts: Json = {
        "variant": f"{response.model}:{response.version}",
        "queue_ms": _ms(timing.queue),
        "engine_ms": _ms(timing.compute),
        **_predicted(timing.predicted),
        "actual_ms": _ms(timing.actual),
        "batch_size": timing.batch_size,
        "batch_tokens": timing.batch_tokens,
        "padding_tokens": padding,
        "padding_ratio": round(padding / timing.batch_slots, 4) if timing.batch_slots else 0.0,
        "neighbours": max(0, timing.batch_size - 1),
    }
    return _header(facts, response.routed, response.cached)


def explain_generation(generation: Generation) -> Header:
    """The explanation of generated text, as far as it is known by now; what is predicted is the first token."""
    timing = generation.timing
    facts: Json = {"variant": f"{generation.model}:{generation.version}", **_predicted(timing.predicted)}
    if timing.first_token:
        facts |= {"queue_ms": _ms(timing.queue), "actual_ms": _ms(timing.first_token)}
    return _header(facts, generation.routed, generation.cached)


def explain_refusal(routed: Routed) -> Header:
    """The explanation of an error: what the route found before."""
    return _header({}, routed, NOT_CACHED)


def _header(facts: Json, routed: Routed, cached: Cached) -> Header:
    """In ASCII. Where it would be longer than a header may be, the last candidates and tries are left out."""
    for most in _fewer(max(len(routed.candidates), len(routed.tries))):
        text = _ascii({**_route(routed), **facts, **_found(routed, cached, most)})
        if len(text) <= LONGEST:
            break
    return b"x-explain", text


def _fewer(most: int) -> Iterator[int]:
    while most:
        yield most
        most //= 2
    yield 0


def _route(routed: Routed) -> Json:
    return {"route": _short(routed.route), "rule": _short(routed.rule), "policy": routed.policy}


def _found(routed: Routed, cached: Cached, most: int) -> Json:
    found: Json = {
        "candidates": [_candidate(candidate) for candidate in routed.candidates[:most]],
        "cache": cached.verdict or _NO_CACHE,
        "retries": [_short(reason) for reason in routed.tries[:most]],
        "step_down": _short(routed.step_down),
        "hedged": routed.hedged,
    }
    left_out = _beyond(routed.candidates, most) + _beyond(routed.tries, most)
    return found | {"left_out": left_out} if left_out else found


def _beyond(items: Sequence[object], most: int) -> int:
    return max(0, len(items) - most)


def _candidate(candidate: Candidate) -> Json:
    return {
        "name": _short(candidate.name),
        **_predicted(candidate.prediction),
        "verdict": _short(candidate.verdict),
    }


def _predicted(prediction: Prediction) -> Mapping[str, float]:
    return {"predicted_ms": _ms(prediction.seconds), "predicted_p95_ms": _ms(prediction.p95)}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def _ascii(value: Json) -> bytes:
    """Compact JSON with every character beyond ASCII, and DEL, escaped: header values are printable ASCII."""
    text = orjson.dumps(value).decode()
    if text.isascii() and "\x7f" not in text:
        return text.encode()
    return "".join(character if " " <= character < "\x7f" else _escaped(character) for character in text).encode()


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
