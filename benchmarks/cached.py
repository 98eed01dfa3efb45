"""What an answer out of the cache costs, on one core: against computing it, and against the bare protocol."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks import load, server
from benchmarks.identity import BODY, CONNECTIONS, reason_to_skip
from benchmarks.minilm import ROUNDS, SECONDS, Step
from benchmarks.report import Row

__all__ = ["ROUNDS", "measure", "reason_to_skip"]

_MODEL = """
backend: "identity" max_batch_size: 64 dynamic_batching { }
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""
_BARE = (sys.executable, "-m", "benchmarks.bare")
_WHAT = {
    "bare": f"bare ASGI, {CONNECTIONS} connections, 1 core",
    "cached": f"cache hit, {CONNECTIONS} connections, 1 core",
    "computed": f"the same computed, {CONNECTIONS} connections, 1 core",
}


def measure(scratch: Path, step: Step) -> list[Row]:
    """Requests a second of one small request over and over; the ratio is to the bare protocol of the same round."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    bodies = scratch / "cached_bodies"
    load.write_bodies([json.dumps(BODY).encode()], bodies)
    repository = _repository(scratch / "cached_models")
    pinned, loading = ("taskset", "-c", str(first)), ("taskset", "-c", str(second))
    runs: dict[str, list[load.Load]] = {name: [] for name in _WHAT}
    with ExitStack() as held:
        bare = held.enter_context(server.started([*pinned, *_BARE]))
        url = held.enter_context(server.running(("--model-repository", str(repository)), pinned))
        targets = {"bare": bare, **{name: f"{url}/v2/models/{name}/infer" for name in ("cached", "computed")}}
        for _ in range(ROUNDS):
            step("cache hits")
            for name, target in targets.items():
                runs[name].append(load.run(target, bodies, CONNECTIONS, SECONDS, loading))
    return [_row(_WHAT[name], runs[name], runs["bare"]) for name in _WHAT]


def _row(what: str, runs: Sequence[load.Load], bare: Sequence[load.Load]) -> Row:
    rates = tuple(run.per_second for run in runs)
    ratio = median(one.per_second / other.per_second for one, other in zip(runs, bare, strict=True))
    p50, p99 = median(run.p50_ms for run in runs), median(run.p99_ms for run in runs)
    return Row(what, median(rates), rates, ratio, p50, p99, None, sum(run.errors for run in runs))


def _repository(root: Path) -> Path:
    for name, more in (("cached", "response_cache { enable: true }"), ("computed", "")):
        (root / name / "1").mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(_MODEL + more)
    return root
