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


@dataclass(frozen=True, slots=True)
class _Target:
    """One load on the gateway: a route or a variant by its own name, at so many connections."""

    model: str
    connections: int

    def __str__(self) -> str:
        return f"gateway, {self.model}, {self.connections} conn."


@dataclass(slots=True)
class _Runs:
    ceilings: dict[str, list[float]]
    loads: dict[_Target, list[load.Load]]
    padding: dict[_Target, list[float]]
    alone: list[float] = field(default_factory=list)


def _targets(variants: Sequence[Variant]) -> list[_Target]:
    route = [_Target(ROUTE, connections) for connections in CONCURRENCIES]
    return route + [_Target(variant.name, CONCURRENCIES[-1]) for variant in variants]


def steps(variants: int) -> int:
    """How many steps `measure` tells of."""
    return ROUNDS * (2 * variants + 1 + len(CONCURRENCIES)) if load.is_available() else ROUNDS * variants


def measure(
    url: str, variants: Sequence[Variant], texts: Sequence[str], scratch: Path, step: Step
) -> tuple[list[Row], list[str]]:
    """Rows and notes. `texts` are sent in the order given; `variants` took the same texts."""
    output = server.get_json(f"{url}/v2/models/{ROUTE}")["outputs"][0]["name"]
    answering, note = _check_answers(url, variants, texts[:CHECKED])
    targets = _targets(variants)
    runs = _Runs({v.name: [] for v in variants}, {t: [] for t in targets}, {t: [] for t in targets})
    bodies = scratch / "bodies"
    load.write_bodies([_body(text, [{"name": output, "parameters": {"binary_data": True}}]) for text in texts], bodies)
    for _ in range(ROUNDS):
        for variant in variants:
            step(f"{variant.name} alone")
            runs.ceilings[variant.name].append(variant.sorted_per_second())
        if load.is_available():
            step(f"{answering.name}, one text at a time")
            runs.alone.append(answering.seconds_alone() * 1000)
            for target in targets:
                step(str(target))
                _load(url, bodies, target, runs)
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


def _load(url: str, bodies: Path, target: _Target, runs: _Runs) -> None:
    before = server.tokens(url)
    infer = f"{url}/v2/models/{target.model}/infer"
    runs.loads[target].append(load.run(infer, bodies, target.connections, SECONDS))
    tokens, padding = (now - then for now, then in zip(server.tokens(url), before, strict=True))
    runs.padding[target].append(padding / (tokens + padding) if tokens + padding else 0.0)


def _rows(runs: _Runs) -> list[Row]:
    ceilings = {name: median(values) for name, values in runs.ceilings.items()}
    best = max(ceilings.values())
    rows = [
        Row(f"{name} alone, 32 sorted", ceilings[name], tuple(values), ceilings[name] / best)
        for name, values in runs.ceilings.items()
    ]
    return rows + [_row(t, loads, ceilings.get(t.model, best), runs) for t, loads in runs.loads.items() if loads]


def _row(target: _Target, loads: Sequence[load.Load], ceiling: float, runs: _Runs) -> Row:
    rates = tuple(one.per_second for one in loads)
    return Row(
        str(target),
        median(rates),
        rates,
        median(rates) / ceiling,
        median(one.p50_ms for one in loads),
        median(one.p99_ms for one in loads),
        median(runs.padding[target]),
        sum(one.errors for one in loads),
    )


def _compared(runs: _Runs, name: str) -> list[str]:
    """The gateway against the very engine that answered: at one connection in time, at the most in rate."""
    if not runs.alone:
        return [f"the gateway was not measured: {load.MISSING}"]
    alone = median(runs.alone)
    through = median(one.mean_ms for one in runs.loads[_Target(ROUTE, 1)])
    most = CONCURRENCIES[-1]
    ratio = median(one.per_second for one in runs.loads[_Target(ROUTE, most)]) / median(runs.ceilings[name])
    return [
        "ratio: of the best engine alone; for a variant asked for by its own name, of itself alone",
        f"1 connection: {through:.2f} ms mean, {name} alone {alone:.2f} ms, overhead {through - alone:.2f} ms",
        f"{ROUTE}, {most} connections: {ratio:.2f} of {name} alone",
    ]
