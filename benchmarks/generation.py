"""Generated text: tokens a second through HTTP, against the bare pipeline and against llama.cpp, taking turns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import llama_cpp, server, streams
from benchmarks.report import Row

MODEL = "assistant"
TOKENS = 64
CONCURRENCIES = (1, 8, 32)
ROUNDS = 3
FIRST_TOKENS = 12
"""Prompts whose first token is timed alone, in each round."""
SYSTEM = (
    "You are the assistant of a bank. Answer in a few friendly sentences, and never ask for a password or a PIN. " * 5
)

Step = Callable[[str], None]


@dataclass(slots=True)
class _Runs:
    bare: dict[int, list[float]] = field(default_factory=dict)
    gateway: dict[int, list[float]] = field(default_factory=dict)
    peer: dict[int, list[float]] = field(default_factory=dict)
    bare_first: list[float] = field(default_factory=list)
    gateway_first: list[float] = field(default_factory=list)


def reason_to_skip(repository: Path) -> str:
    """Why this cannot be measured here; "" where it can."""
    if find_spec("openvino_genai") is None:
        return "openvino_genai is not installed (pip install 'batchyard[openvino-genai]')"
    return "" if weights_of(repository).is_file() else f"{MODEL} is not built (batchyard build)"


def weights_of(repository: Path) -> Path:
    """The model file that all sides read."""
    return repository / MODEL / "1" / "model.gguf"


def messages(text: str) -> list[dict[str, str]]:
    """The conversation that every message is sent in: a system prompt of about 120 tokens, shared by all."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


class BarePipeline:
    """OpenVINO GenAI's continuous batching as the gateway's engine sets it up, in a loop of its own, and no text."""

    def __init__(self, weights: Path) -> None:
        from engines.openvino_import import import_openvino

        import_openvino()
        import openvino_genai

        self._genai = openvino_genai
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = 2048
        scheduler.enable_prefix_caching = True
        scheduler.dynamic_split_fuse = True
        scheduler.max_num_batched_tokens = 512
        scheduler.max_num_seqs = 64
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(str(weights), scheduler, "CPU")
        self._tokenizer = self._pipeline.get_tokenizer()
        self._next = 0

    def prompt(self, text: str) -> Any:
        """The token ids of a message in its conversation."""
        rendered = self._tokenizer.apply_chat_template(messages(text), add_generation_prompt=True)
        return self._tokenizer.encode(rendered, add_special_tokens=False).input_ids

    def run(self, texts: Sequence[str], tokens: int) -> tuple[float, float]:
        """Seconds until the first token, and until all have theirs."""
        prompts = [self.prompt(text) for text in texts]
        config = self._genai.GenerationConfig(max_new_tokens=tokens, ignore_eos=True, apply_chat_template=False)
        start = time.perf_counter()
        handles = []
        for prompt in prompts:
            self._next += 1
            handles.append(self._pipeline.add_request(self._next, prompt, config))
        first = 0.0
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            for handle in handles:
                while handle.can_read():
                    handle.read()
                    first = first or time.perf_counter() - start
        return first, time.perf_counter() - start


def steps() -> int:
    """How many steps `measure` tells of."""
    return ROUNDS * (2 * len(CONCURRENCIES) + 1) + len(CONCURRENCIES)


def measure(repository: Path, texts: Sequence[str], step: Step) -> tuple[list[Row], list[str]]:
    """Rows and notes."""
    weights = weights_of(repository)
    runs = _Runs()
    bare = BarePipeline(weights)
    with server.running(("--models", MODEL)) as url:
        chat = f"{url}/v1/chat/completions"
        _round(runs, bare, chat, texts, lambda _: None)  # every side has seen every shape
        runs = _Runs()
        for turn in range(ROUNDS):
            shift = (turn + 1) * sum(CONCURRENCIES)
            _round(runs, bare, chat, [*texts[shift:], *texts[:shift]], step)
    if llama_cpp.is_available():
        with llama_cpp.running(weights, max(CONCURRENCIES)) as url:
            for streams_at_once in CONCURRENCIES:
                step(f"llama.cpp, {streams_at_once} streams")
                _add(runs.peer, streams_at_once, _seconds(f"{url}/v1/chat/completions", texts[:streams_at_once]))
    return _rows(runs), _notes(runs)


def _round(runs: _Runs, bare: BarePipeline, chat: str, texts: Sequence[str], step: Step) -> None:
    step("first tokens")
    for text in texts[:FIRST_TOKENS]:
        runs.bare_first.append(bare.run([text], 1)[0] * 1000)
        runs.gateway_first.append(streams.run(chat, [_body(text, 1)])[0].first * 1000)
    for streams_at_once in CONCURRENCIES:
        chosen = texts[:streams_at_once]
        step(f"bare pipeline, {streams_at_once} streams")
        _add(runs.bare, streams_at_once, bare.run(chosen, TOKENS)[1])
        step(f"gateway, {streams_at_once} streams")
        _add(runs.gateway, streams_at_once, _seconds(chat, chosen))


def _add(rates: dict[int, list[float]], streams_at_once: int, seconds: float) -> None:
    rates.setdefault(streams_at_once, []).append(streams_at_once * TOKENS / seconds)


def _seconds(url: str, texts: Sequence[str]) -> float:
    return max(stream.last for stream in streams.run(url, [_body(text, TOKENS) for text in texts]))


def _body(text: str, tokens: int) -> bytes:
    return streams.body(MODEL, messages(text), tokens)


def _rows(runs: _Runs) -> list[Row]:
    rows = []
    for side, rates in (("bare pipeline", runs.bare), ("gateway", runs.gateway), ("llama.cpp", runs.peer)):
        for streams_at_once, values in rates.items():
            ratio = median(a / b for a, b in zip(values, runs.bare[streams_at_once], strict=False))
            what = f"{side}, {streams_at_once} streams, tokens"
            rows.append(Row(what, median(values), tuple(values), ratio))
    return rows


def _notes(runs: _Runs) -> list[str]:
    bare, through = median(runs.bare_first), median(runs.gateway_first)
    first = f"first token, one stream: {bare:.1f} ms bare, {through:.1f} ms through HTTP, {through - bare:.1f} ms over"
    return [first] if runs.peer else [first, f"skipped llama.cpp: {llama_cpp.MISSING}"]


def main() -> None:
    """`python -m benchmarks.generation`: this part alone."""
    from rich.console import Console

    from benchmarks import report
    from benchmarks.texts import load_texts

    repository = Path("model_repository")
    skipped = reason_to_skip(repository)
    if skipped:
        raise SystemExit(skipped)
    rows, notes = measure(repository, load_texts(768), lambda what: print(what, flush=True))
    report.show(Console(width=120), rows, notes)


if __name__ == "__main__":
    main()
