"""What a call asks for beyond plain sampling, and the refusal of what another server cannot do."""

from collections.abc import Mapping, Set

from engines.generation import Chat, Feature, GenerationCall
from service.errors import InvalidRequestError

_PARAMS: Mapping[Feature, str] = {"json_schema": "response_format"}
"""A feature's parameter as callers know it, where it has another name."""


def refuse_missing(model: str, call: GenerationCall, features: Set[Feature]) -> None:
    """Raises `InvalidRequestError` for the first thing that `call` asks and `features` lack."""
    for feature in _asked(call):
        if feature not in features:
            param = _PARAMS.get(feature, feature)
            raise InvalidRequestError(f"model {model!r} has no {param}; leave it out, or ask another model", param)


def _asked(call: GenerationCall) -> list[Feature]:
    options = call.options
    asked: dict[Feature, bool] = {
        "frequency_penalty": options.frequency_penalty != 0,
        "json_schema": bool(options.json_schema),
        "logit_bias": bool(options.logit_bias),
        "logprobs": options.logprobs is not None,
        "min_p": options.min_p != 0,
        "presence_penalty": options.presence_penalty != 0,
        "repetition_penalty": options.repetition_penalty != 1,
        "seed": options.seed is not None,
        "tools": any(isinstance(prompt, Chat) and prompt.tools for prompt in call.prompts),
        "top_k": options.top_k != 0,
        "top_logprobs": bool(options.logprobs),
    }
    return [feature for feature, wanted in asked.items() if wanted]
