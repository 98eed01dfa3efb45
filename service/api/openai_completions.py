"""POST /v1/completions."""

from dataclasses import replace
from functools import partial

from engines.generation import GenerationCall
from service.api.generation_fields import (
    check_answers,
    logit_bias_of,
    options_of,
    priority_of,
    served_tier,
    wants_usage,
)
from service.api.openai_answers import new_envelope
from service.api.openai_completions_answer import CompletionChoice, encode_completion
from service.api.openai_completions_messages import CompletionRequest, decode_completion, decode_prompts
from service.api.openai_generation import Asked
from service.errors import UnsupportedError

_MAX_TOKENS = 16
"""OpenAI's default."""


def understand_completion(body: bytes, most_answers: int) -> Asked:
    """The request in `body`; raises `InvalidRequestError` with the field at fault as `param`."""
    message = decode_completion(body)
    usage = wants_usage(message)
    call = completion_call(message, most_answers)
    envelope = new_envelope("cmpl-", "text_completion", message.model, served_tier(message))
    tops = call.options.logprobs
    encode = partial(encode_completion, logprobs=tops)
    new_choice = partial(CompletionChoice, envelope.opening(), tops)
    return Asked(call, message.stream or False, usage, envelope, encode, new_choice, priority_of(message))


def completion_call(request: CompletionRequest, most_answers: int) -> GenerationCall:
    """What is asked for. `most_answers`: prompts times `n`; raises `InvalidRequestError`."""
    n = request.n or 1
    if request.best_of is not None and request.best_of != n:
        raise UnsupportedError(
            f"best_of is {request.best_of}, n is {n}; choosing among more answers is not served, use the same",
            "best_of",
        )
    echo = request.echo or False
    if echo and request.logprobs is not None:
        raise UnsupportedError("logprobs of an echoed prompt are not served; leave out echo or logprobs", "logprobs")
    prompts = tuple(decode_prompts(request.prompt, most_answers))
    check_answers(len(prompts), n, most_answers, "prompt")
    options = replace(
        options_of(request),
        n=n,
        max_tokens=_MAX_TOKENS if request.max_tokens is None else request.max_tokens,
        logit_bias=logit_bias_of(request),
        logprobs=request.logprobs,
        echo=echo,
    )
    return GenerationCall(prompts, options)
