"""What the torch generator takes: a request that would fail later is refused before it joins a batch."""

import math
from collections.abc import Iterator

from engines.errors import InvalidInputError
from engines.text_generator import GenerationRequest, GeneratorLimits, Sampling


def check_request(request: GenerationRequest, limits: GeneratorLimits, vocabulary: int) -> None:
    """Raises `InvalidInputError`. `vocabulary`: ids that the model knows, from 0 on; on a GPU, an id beyond would end
    the process's use of it."""
    prompt, sampling = request.prompt, request.sampling
    if not prompt.size or sampling.max_tokens < 1:
        raise InvalidInputError("a prompt and its answer have at least one token each")
    if prompt.size + sampling.max_tokens > limits.window:
        raise InvalidInputError(
            f"the prompt has {prompt.size} tokens and max_tokens is {sampling.max_tokens}; together they may have "
            f"{limits.window}: shorten the prompt, or ask for fewer"
        )
    low, high = int(prompt.min()), int(prompt.max())
    if low < 0 or high >= vocabulary:
        raise InvalidInputError(
            f"the prompt holds token id {low if low < 0 else high}; the model has 0 to {vocabulary - 1}"
        )
    for problem in _problems(sampling, vocabulary):
        raise InvalidInputError(problem)
    if request.grammar is not None:
        raise InvalidInputError(
            "this engine keeps to no JSON schema and no grammar of tool calls; ask for free text, or use another engine"
        )


def _problems(sampling: Sampling, vocabulary: int) -> Iterator[str]:
    for name, value, least, most in (
        ("temperature", sampling.temperature, 0.0, math.inf),
        ("top_p", sampling.top_p, 0.0, 1.0),
        ("min_p", sampling.min_p, 0.0, 1.0),
        ("presence_penalty", sampling.presence_penalty, -2.0, 2.0),
        ("frequency_penalty", sampling.frequency_penalty, -2.0, 2.0),
    ):
        if not (least <= value <= most and math.isfinite(value)):
            yield f"{name} is {value}, wanted {least:g} to {most:g}"
    if not 0 < sampling.repetition_penalty < math.inf:
        yield f"repetition_penalty is {sampling.repetition_penalty}, wanted more than 0"
    if sampling.top_k < 0 or (sampling.logprobs or 0) < 0:
        yield f"top_k is {sampling.top_k} and logprobs {sampling.logprobs}, wanted 0 or more"
    for token, bias in sampling.logit_bias.items():
        if not 0 <= token < vocabulary:
            yield f"logit_bias names token id {token}; the model has 0 to {vocabulary - 1}"
        if not math.isfinite(bias):
            yield f"logit_bias of token id {token} is {bias}, wanted a finite number"
