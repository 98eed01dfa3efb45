"""MiniLM embeddings: the engines alone and the gateway around them, taking turns so that noise meets both alike."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import load, server
from benchmarks.ceiling import Variant
from benchmarks.report import Row

ROUTE = "minilm"
CONCURRENCIES = (1, 16, 64)
SECONDS = 4
ROUNDS = 3
CHECKED = 256
"""Texts whose answers are compared before the run, and that are timed one by one."""

SMALLEST_COSINE = 0.99
"""Between the gateway's answers and those of the engine that it names, run alone: int8 engines round differently."""

Step = Callable[[str], None]
"""Told of each step of the run before it starts."""


@dataclass(slots=True)
class _Runs:
    ceilings: dict[str, list[float]] = field(default_factory=dict)
    alone: list[float] = field(default_factory=list)
    loads: dict[int, list[load.Load]] = field(default_factory=lambda: {c: [] for c in CONCURRENCIES})
    padding: dict[int, list[float]] = field(default_factory=lambda: {c: [] for c in CONCURRENCIES})


def steps(variants: int) -> int:
    """How many steps `measure` tells of."""
    return ROUNDS * (variants + 1 + len(CONCURRENCIES)) if load.is_available() else ROUNDS * variants


def measure(
    url: str, variants: Sequence[Variant], texts: Sequence[str], scratch: Path, step: Step
) -> tuple[list[Row], list[str]]:
    """Rows and notes. `texts` are sent in the order given; `variants` took the same texts."""
    output = server.get_json(f"{url}/v2/models/{ROUTE}")["outputs"][0]["name"]
    answering, note = _check_answers(url, variants, texts[:CHECKED])
    runs = _Runs({variant.name: [] for variant in variants})
    bodies = scratch / "bodies"
    load.write_bodies([_body(text, [{"name": output, "parameters": {"binary_data": True}}]) for text in texts], bodies)
    for _ in range(ROUNDS):
        for variant in variants:
            step(f"{variant.name} alone")
            runs.ceilings[variant.name].append(variant.sorted_per_second())
        if load.is_available():
            step(f"{answering.name}, one text at a time")
            runs.alone.append(answering.seconds_alone() * 1000)
            for concurrency in CONCURRENCIES:
                step(f"gateway, {concurrency} connections")
                _load(url, bodies, concurrency, runs)
    return _rows(runs), [note, *_compared(runs, answering.name)]


def _body(text: str, outputs: Sequence[object]) -> bytes:
    inputs = [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]
    return json.dumps({"inputs": inputs, "outputs": list(outputs)} if outputs else {"inputs": inputs}).encode()


def _check_answers(url: str, variants: Sequence[Variant], texts: Sequence[str]) -> tuple[Variant, str]:
    """Compares the gateway's answers with those of the same engine alone; raises where they differ."""
    infer = f"{url}/v2/models/{ROUTE}/infer"
    answers = [server.post_json(infer, _body(text, [])) for text in texts]
    names = {answer["model_name"] for answer in answers}
    variant = next(variant for variant in variants if variant.name in names)
    expected = variant.embed()
    found = np.array([answer["outputs"][0]["data"] for answer in answers], np.float32).reshape(len(answers), -1)
    worst = float((found * expected).sum(axis=1).min())
    if worst < SMALLEST_COSINE:
        raise RuntimeError(f"{ROUTE} answers differ from {variant.name} alone: cosine {worst:.4f}")
    return variant, f"{len(answers)} answers by {', '.join(sorted(names))} checked: cosine at least {worst:.5f}"


def _load(url: str, bodies: Path, concurrency: int, runs: _Runs) -> None:
    before = server.tokens(url)
    runs.loads[concurrency].append(load.run(f"{url}/v2/models/{ROUTE}/infer", bodies, concurrency, SECONDS))
    tokens, padding = (now - then for now, then in zip(server.tokens(url), before, strict=True))
    runs.padding[concurrency].append(padding / (tokens + padding) if tokens + padding else 0.0)


def _rows(runs: _Runs) -> list[Row]:
    best = max(median(values) for values in runs.ceilings.values())
    rows = [
        Row(f"{name} alone, 32 sorted", median(values), tuple(values), median(values) / best)
        for name, values in runs.ceilings.items()
    ]
    for concurrency, loads in runs.loads.items():
        if loads:
            rates = tuple(one.per_second for one in loads)
            rows.append(
                Row(
                    f"gateway, {concurrency} connection{'s'[: concurrency > 1]}",
                    median(rates),
                    rates,
                    median(rates) / best,
                    median(one.p50_ms for one in loads),
                    median(one.p99_ms for one in loads),
                    median(runs.padding[concurrency]),
                    sum(one.errors for one in loads),
                )
            )
    return rows


def _compared(runs: _Runs, name: str) -> list[str]:
    """The gateway against the very engine that answered: at one connection in time, at the most in rate."""
    if not runs.alone:
        return [f"the gateway was not measured: {load.MISSING}"]
    alone, through = median(runs.alone), median(one.mean_ms for one in runs.loads[1])
    most = CONCURRENCIES[-1]
    ratio = median(one.per_second for one in runs.loads[most]) / median(runs.ceilings[name])
    return [
        f"1 connection: {through:.2f} ms mean, {name} alone {alone:.2f} ms, overhead {through - alone:.2f} ms",
        f"{most} connections: {ratio:.2f} of {name} alone",
    ]
