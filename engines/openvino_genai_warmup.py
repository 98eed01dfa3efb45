"""What runs before the first caller comes: prompts and steps of the usual sizes, and the grammar compiler."""

import time
from collections.abc import Callable

import numpy as np

from engines.text import TokenIds
from engines.text_generator import GenerationRequest, Grammar, Sampling, TextGenerator

_BATCHES = (1, 2, 4, 8, 16, 32)
_PROMPT = 24
_STEPS = 3
_SECONDS = 4.0
"""After so many no further batch is begun."""
_ANY_OBJECT = Grammar(json_schema='{"type": "object"}')


def warm_up(
    generator: TextGenerator, step_tokens: int, vocabulary: int, clock: Callable[[], float] = time.monotonic
) -> None:
    """Leaves nothing running. `step_tokens`: the largest piece of a prompt that a step computes."""
    longest = min(step_tokens, generator.limits.window - _STEPS)
    end = clock() + _SECONDS
    _run(generator, [GenerationRequest(_tokens(longest, 0, vocabulary), Sampling(1))])
    _run(generator, [GenerationRequest(_tokens(_PROMPT, 1, vocabulary), Sampling(1), _ANY_OBJECT)])
    for batch in _BATCHES:
        if batch > generator.limits.sequences or clock() > end:
            return
        sampling = Sampling(_STEPS, ignore_eos=True)
        _run(generator, [GenerationRequest(_tokens(_PROMPT, batch + n, vocabulary), sampling) for n in range(batch)])


def _run(generator: TextGenerator, requests: list[GenerationRequest]) -> None:
    left = {generator.add(request) for request in requests}
    while left:
        left -= {event.request_id for event in generator.step() if event.finish}


def _tokens(length: int, start: int, vocabulary: int) -> TokenIds:
    """Tokens that no two prompts here share, so that none is taken from the cache."""
    return (np.arange(length, dtype=np.int64) * 7 + start * 131 + 1) % vocabulary
