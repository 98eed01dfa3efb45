"""What a request costs by itself: the identity model, the server held to one core."""

import json
import os
import shutil
from pathlib import Path
from statistics import median

from benchmarks import load, server
from benchmarks.minilm import ROUNDS, SECONDS, Step
from benchmarks.report import Row

CONNECTIONS = 32

BODY = {"inputs": [{"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}]}


def reason_to_skip() -> str:
    """Why this cannot be measured here; "" where it can."""
    if not load.is_available():
        return load.MISSING
    if shutil.which("taskset") is None:
        return "taskset is not installed (apt-get install util-linux)"
    return "" if len(os.sched_getaffinity(0)) > 1 else "the machine has one core, and the load needs another"


def measure(scratch: Path, step: Step) -> Row:
    """Requests a second over `CONNECTIONS` connections."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    bodies = scratch / "identity_bodies"
    load.write_bodies([json.dumps(BODY).encode()], bodies)
    runs = []
    with server.running(("--models", "identity"), ("taskset", "-c", str(first))) as url:
        for _ in range(ROUNDS):
            step(f"identity, {CONNECTIONS} connections")
            pinned = ("taskset", "-c", str(second))
            runs.append(load.run(f"{url}/v2/models/identity/infer", bodies, CONNECTIONS, SECONDS, pinned))
    rates = tuple(run.per_second for run in runs)
    p50, p99 = median(run.p50_ms for run in runs), median(run.p99_ms for run in runs)
    errors = sum(run.errors for run in runs)
    return Row(f"identity, {CONNECTIONS} connections, 1 core", median(rates), rates, None, p50, p99, None, errors)
