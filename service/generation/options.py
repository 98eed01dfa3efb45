"""Whether options of a generation are within what any model allows, and within what this one's engine can do."""

import math
from collections.abc import Iterator, Sequence

from engines.generation import Feature, Options
from service.errors import InvalidRequestError, UnsupportedError
from service.generating import LONGEST_SCHEMA, LONGEST_STOP, MOST_ANSWERS, MOST_BIASES, MOST_STOPS

_MOST_LOGPROBS = 20


def check_options(options: Options, vocabulary: int) -> None:
    """Raises `InvalidRequestError` for a value out of range. Quick, whatever it is given."""
    for name, value, least, most in _ranges(options):
        if value is not None and not least <= value <= most:  # refuses NaN as well
            raise InvalidRequestError(f"{name} is {value}; give a number from {least:g} to {most:g}", name)
    if options.max_tokens is not None and options.max_tokens < 1:
        raise InvalidRequestError(f"max_tokens is {options.max_tokens}; give 1 or more", "max_tokens")
    _check_stops(options.stop)
    _check_biases(options, vocabulary)
    if len(options.json_schema) > LONGEST_SCHEMA:
        text = f"the JSON schema has {len(options.json_schema)} characters; give at most {LONGEST_SCHEMA}"
        raise InvalidRequestError(text, "response_format")
    if options.echo and options.logprobs is not None:
        text = "logprobs of an echoed prompt are not computed here; leave out echo or logprobs"
        raise UnsupportedError(text, "echo")


def check_features(options: Options, features: frozenset[Feature], backend: str) -> None:
    """Raises `UnsupportedError` for an option in use that the engine cannot honour."""
    for feature, param in _in_use(options):
        if feature not in features:
            raise cannot(param, backend)


def cannot(param: str, backend: str) -> UnsupportedError:
    """The error of an option that an engine cannot honour."""
    return UnsupportedError(f"{param} cannot be honoured by this model's engine, {backend}; leave it out", param)


def _ranges(options: Options) -> Sequence[tuple[str, float | None, float, float]]:
    return (
        ("n", options.n, 1, MOST_ANSWERS),
        ("temperature", options.temperature, 0, 2),
        ("top_p", options.top_p, 0, 1),
        ("min_p", options.min_p, 0, 1),
        ("top_k", options.top_k, 0, 1 << 31),
        ("presence_penalty", options.presence_penalty, -2, 2),
        ("frequency_penalty", options.frequency_penalty, -2, 2),
        ("repetition_penalty", options.repetition_penalty, 0.01, 10),
        ("logprobs", options.logprobs, 0, _MOST_LOGPROBS),
        ("seed", options.seed, -(1 << 63), (1 << 63) - 1),
    )


def _check_stops(stops: Sequence[str]) -> None:
    if len(stops) > MOST_STOPS:
        raise InvalidRequestError(f"{len(stops)} stop strings given; give at most {MOST_STOPS}", "stop")
    for number, stop in enumerate(stops):
        if not 1 <= len(stop) <= LONGEST_STOP:
            text = f"stop string {number} has {len(stop)} characters; give 1 to {LONGEST_STOP}"
            raise InvalidRequestError(text, "stop")


def _check_biases(options: Options, vocabulary: int) -> None:
    if len(options.logit_bias) > MOST_BIASES:
        text = f"logit_bias names {len(options.logit_bias)} tokens; name at most {MOST_BIASES}"
        raise InvalidRequestError(text, "logit_bias")
    for token, bias in options.logit_bias.items():
        if not 0 <= token < vocabulary:
            text = f"logit_bias names token {token}; the vocabulary has 0 to {vocabulary - 1}"
            raise InvalidRequestError(text, "logit_bias")
        if not -100 <= bias <= 100 or math.isnan(bias):
            raise InvalidRequestError(f"logit_bias of token {token} is {bias}; give -100 to 100", "logit_bias")


def _in_use(options: Options) -> Iterator[tuple[Feature, str]]:
    """Features that the options ask for, each with the parameter that does."""
    default = Options()
    used: Sequence[tuple[Feature, str, bool]] = (
        ("frequency_penalty", "frequency_penalty", options.frequency_penalty != default.frequency_penalty),
        ("presence_penalty", "presence_penalty", options.presence_penalty != default.presence_penalty),
        ("repetition_penalty", "repetition_penalty", options.repetition_penalty != default.repetition_penalty),
        ("min_p", "min_p", options.min_p != default.min_p),
        ("top_k", "top_k", options.top_k != default.top_k),
        ("seed", "seed", options.seed is not None),
        ("logit_bias", "logit_bias", bool(options.logit_bias)),
        ("logprobs", "logprobs", options.logprobs is not None),
        ("top_logprobs", "top_logprobs", bool(options.logprobs)),
        ("json_schema", "response_format", bool(options.json_schema)),
    )
    yield from ((feature, param) for feature, param, is_used in used if is_used)
