"""What sparse attention and eviction do on a long prompt: time, cache and answers. `python -m benchmarks.long_prompt`.

A prompt of made-up bank messages, 4,000 tokens and more, with a fact placed early in it that the end asks for.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.texts import load_texts
from engines.base import EngineOptions
from engines.cores import available_cores
from engines.generation import Chat, Message
from engines.language import Language, open_language
from engines.model_config import ModelConfig, TextGeneration
from engines.openvino_genai import OpenVinoGenAI, open_generator
from engines.openvino_genai_settings import PREFIX
from engines.repository import read_config
from engines.text import TokenIds
from engines.text_generator import GenerationRequest, Sampling

MODEL = Path("model_repository") / "assistant"
PROMPT_TOKENS = 4200
ANSWER_TOKENS = 96
ROUNDS = 3
FACT = "Note for the support team: the vault code of the branch in Lisbon is 73914."
QUESTION = "What is the vault code of the branch in Lisbon? Answer with the number only."
RECALLED = "73914"
_WINDOW = 8192
_TEXTS, _BEFORE, _STEP = 600, 12, 4
_SETUPS: Mapping[str, Mapping[str, str]] = {
    "dense": {},
    "trishape": {"sparse_attention": "trishape", "sparse_attention.recent_tokens": "1024"},
    "xattention": {"sparse_attention": "xattention", "sparse_attention.threshold": "0.8"},
    "eviction to 2048": {"eviction.max_size": "2048", "eviction.start_size": "32", "eviction.recent_size": "512"},
    "eviction to 672": {"eviction.max_size": "672", "eviction.start_size": "32", "eviction.recent_size": "128"},
}


@dataclass(frozen=True, slots=True)
class Run:
    """One greedy answer. `first`: seconds until its first token; `rate`: tokens a second after it.

    `cache`: tokens that it held at the end.
    """

    tokens: tuple[int, ...]
    first: float
    rate: float
    cache: float


def main() -> None:
    """Prints a table: each setup against the dense one in the same run."""
    if not (MODEL / "1" / "model.gguf").is_file():
        raise SystemExit("the weights are missing: run `batchyard build assistant`")
    language = open_language(_config({}), MODEL, "1")
    prompts = [_prompt(language, QUESTION), _prompt(language, "Sum up in a few sentences what customers ask about.")]
    table = Table(
        title=f"{prompts[0].size:,} tokens of prompt, medians of {ROUNDS}", title_justify="left", box=box.SIMPLE
    )
    for column in (
        "",
        "first token s",
        "tokens/s after it",
        "tokens in the cache",
        f"as dense, of {ANSWER_TOKENS}",
        "fact recalled",
    ):
        table.add_column(column, justify="right" if column else "left")
    threads = max(1, int(available_cores()))
    dense: tuple[int, ...] = ()
    for name, parameters in track(_SETUPS.items(), "measuring", transient=True):
        generator = open_generator(EngineOptions(_config(parameters), MODEL / "1", threads=threads))
        try:
            recall = [_run(generator, prompts[0]) for _ in range(ROUNDS)]
            free = [_run(generator, prompts[1]) for _ in range(ROUNDS)]
        finally:
            generator.close()
        dense = dense or free[0].tokens
        table.add_row(*_row(name, language, recall, free, dense))
    Console().print(table)


def _row(
    name: str, language: Language, recall: Sequence[Run], free: Sequence[Run], dense: Sequence[int]
) -> tuple[str, ...]:
    stream = language.stream()
    text = "".join(map(stream.push, recall[0].tokens)) + stream.flush()
    alike = next((n for n, (a, b) in enumerate(zip(free[0].tokens, dense, strict=False)) if a != b), len(dense))
    return (
        name,
        f"{median(one.first for one in free):.2f}",
        f"{median(one.rate for one in free):.0f}",
        f"{median(one.cache for one in free):,.0f}",
        str(alike),
        "yes" if RECALLED in text else "no",
    )


def _config(parameters: Mapping[str, str]) -> ModelConfig:
    """Without prefix caching: every round computes its whole prompt."""
    found = {f"{PREFIX}{key}": value for key, value in {"prefix_caching": "false", **parameters}.items()}
    generation = TextGeneration(window=_WINDOW, max_sequences=1, kv_cache_tokens=_WINDOW)
    return replace(read_config(MODEL), parameters=found, generation=generation)


def _prompt(language: Language, question: str) -> TokenIds:
    """Messages of customers up to the wanted length, the fact after the first few, the question last."""
    texts = load_texts(_TEXTS)
    for count in range(_STEP, _TEXTS, _STEP):
        told = [*texts[:_BEFORE], FACT, *texts[_BEFORE:count]]
        content = "\n".join(("Messages of customers:", *told, "", question))
        text = language.render(Chat((Message("user", content),)))
        tokens = language.encode(text, _WINDOW, special=False)
        if tokens.size >= PROMPT_TOKENS:
            return tokens
    raise SystemExit(f"{_TEXTS} messages are too few for a prompt of {PROMPT_TOKENS} tokens")


def _run(generator: OpenVinoGenAI, prompt: TokenIds) -> Run:
    start = time.perf_counter()
    generator.add(GenerationRequest(prompt, Sampling(ANSWER_TOKENS, temperature=0.0, ignore_eos=True)))
    tokens: list[int] = []
    first = cache = 0.0
    while len(tokens) < ANSWER_TOKENS:
        for event in generator.step():
            first = first or time.perf_counter() - start
            tokens += [token.id for token in event.tokens]
        cache = max(cache, generator.cache_usage) if len(tokens) < 2 else generator.cache_usage or cache
    rate = (ANSWER_TOKENS - 1) / (time.perf_counter() - start - first)
    return Run(tuple(tokens), first, rate, cache * generator.limits.kv_tokens)


if __name__ == "__main__":
    main()
