"""Requests in the words of OpenVINO GenAI, and what it cannot do or would fail on."""

import json
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from engines.apart import Known
from engines.errors import InvalidInputError
from engines.generation import Tool
from engines.json_schema import MOST_COST, MOST_NAMES, read_json_schema
from engines.json_tree import ANY_OBJECT, EMPTY_OBJECT, Document
from engines.openvino_genai_grammar import Call, grammar_of_calls, grammar_of_schema
from engines.text_generator import GenerationRequest, Grammar, Sampling, ToolSyntax

_SEEDS = 2**32 - 1
SYNTAX = ToolSyntax()


def check_request(request: GenerationRequest, known: Known) -> None:
    """Raises `InvalidInputError` for what the pipeline refuses, breaks on or cannot hold."""
    prompt, needed = request.prompt, request.prompt.size + request.sampling.max_tokens
    most = min(known.limits.window, known.limits.kv_tokens)
    if not prompt.size or needed > most:
        raise InvalidInputError(f"a prompt and its answer have 2 to {most} tokens, found {needed}")
    if prompt.min() < 0 or prompt.max() >= known.vocabulary:
        found = int(prompt.min() if prompt.min() < 0 else prompt.max())
        raise InvalidInputError(f"the prompt has token {found}; the model knows 0 to {known.vocabulary - 1}")
    check_sampling(request.sampling, request.grammar)
    if request.grammar is not None and request.grammar.tools and "tools" not in known.features:
        raise InvalidInputError("tools: this model is configured without them; leave them out")
    grammar_text(request.grammar, SYNTAX)


def check_sampling(sampling: Sampling, grammar: Grammar | None) -> None:
    """Raises `InvalidInputError` for values that the sampler does not take."""
    for wrong, text in _wrong(sampling):
        if wrong:
            raise InvalidInputError(text)
    if grammar is not None and sampling.ignore_eos:
        raise InvalidInputError("ignore_eos: an answer with a grammar ends where the grammar does; leave it out")


def _wrong(sampling: Sampling) -> Iterator[tuple[bool, str]]:
    yield sampling.max_tokens < 1, f"max_tokens is {sampling.max_tokens}; ask for at least 1"
    yield bool(sampling.logit_bias), "logit_bias is not supported by this engine; leave it out"
    yield bool(sampling.logprobs), "of logprobs this engine knows those of the chosen tokens only; ask for no top ones"
    yield not sampling.temperature >= 0, f"temperature is {sampling.temperature}; give 0 or more"
    yield not 0 < sampling.top_p <= 1, f"top_p is {sampling.top_p}; give a number above 0, at most 1"
    yield not 0 <= sampling.min_p < 1, f"min_p is {sampling.min_p}; give a number from 0, below 1"
    yield sampling.top_k < 0, f"top_k is {sampling.top_k}; give 0 for no limit, or a number of tokens"
    yield not sampling.repetition_penalty > 0, f"repetition_penalty is {sampling.repetition_penalty}; give more than 0"
    for name in ("presence_penalty", "frequency_penalty"):
        value = getattr(sampling, name)
        yield not -2 <= value <= 2, f"{name} is {value}; give a number from -2 to 2"


def generation_config(genai: ModuleType, request: GenerationRequest, grammar: str, ends: frozenset[int]) -> Any:
    """The `GenerationConfig` of a checked request. `grammar` "": the text is free."""
    sampling = request.sampling
    config = genai.GenerationConfig(
        max_new_tokens=sampling.max_tokens,
        ignore_eos=sampling.ignore_eos,
        apply_chat_template=False,
        do_sample=sampling.temperature > 0,
        logprobs=0 if sampling.logprobs is None else 1,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        stop_token_ids=set(ends),
        eos_token_id=min(ends),
    )
    if sampling.temperature > 0:
        config.temperature, config.top_p, config.min_p = sampling.temperature, sampling.top_p, sampling.min_p
        config.rng_seed = sampling.seed % _SEEDS + 1  # 0 would mean a seed of the pipeline's own
        if sampling.top_k:
            config.top_k = sampling.top_k
    if grammar:
        config.structured_output_config = genai.StructuredOutputConfig(grammar=grammar)
    return config


def grammar_text(grammar: Grammar | None, syntax: ToolSyntax) -> str:
    """The grammar in the engine's dialect, "" for none; raises `InvalidInputError` with the path in the schema."""
    if grammar is None:
        return ""
    if grammar.json_schema:
        return grammar_of_schema(read_json_schema(grammar.json_schema))
    if not grammar.tools:
        raise InvalidInputError("the grammar has no schema and no tools; give one of them")
    return grammar_of_calls(list(_calls(grammar.tools)), syntax, grammar)


def _calls(tools: Sequence[Tool]) -> Iterator[Call]:
    """All tools together may cost what one schema may.

    Of a tool that is not strict, arguments that cannot be held to, or only at too high a cost, are any object.
    """
    if len(tools) > MOST_NAMES:
        raise InvalidInputError(f"{len(tools)} tools are too many to choose from; offer up to {MOST_NAMES}")
    names, cost = 0, 0.0
    for tool in tools:
        try:
            document = _arguments(tool) if tool.parameters else EMPTY_OBJECT
            if names + document.names > MOST_NAMES or cost + document.cost > MOST_COST:
                raise InvalidInputError("its schema and those before it are together more than one schema may be")
        except InvalidInputError as error:
            if tool.strict:
                raise InvalidInputError(f"tool {tool.name!r}: {error}; correct it, or ask without strict") from None
            document = ANY_OBJECT
        names, cost = names + document.names, cost + document.cost
        yield tool.name, document


def _arguments(tool: Tool) -> Document:
    try:
        text = json.dumps(tool.parameters)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"its parameters are no JSON: {error}") from None
    return read_json_schema(text)
