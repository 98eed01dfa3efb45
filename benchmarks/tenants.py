"""Does the flood of one tenant delay another? `python -m benchmarks.tenants`.

Tenant `b` asks at half of its fair share, a quarter of the measured peak, as Poisson arrivals: alone, then beside
tenant `a`, which asks at ten times its share, five times the peak, from a process and connections of its own. Rounds
alternate. The identity model waits for so long that what else the machine does blurs little.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import server
from benchmarks.identity import BODY
from benchmarks.open_loop import closed_loop, open_loop
from benchmarks.report import RESULTS, machine
from benchmarks.texts import load_texts
from benchmarks.wire import Exchange, post

KEYS = {"a": "key-of-the-flood", "b": "key-of-the-other"}
SHARE, FLOOD = 0.25, 5.0
"""Of the peak: what `b` asks for, and what `a` does."""
_PEAK_CONNECTIONS = 64
_SETTLES = 5.0
"""Seconds of each load that are not counted."""
_DEADLINE = "x-deadline-ms: 600\r\n"
"""Of the flood, so that what is refused of it is refused at once, and its connections carry all that it asks for."""
_SLOW = "\n".join(
    f'parameters {{ key: "batchyard.identity.{name}" value: {{ string_value: "{value}" }} }}'
    for name, value in (("delay_ms", 50), ("delay_ms_per_row", 10))
)
"""A full batch of 16 rows takes 210 ms, one row 60 ms."""


@dataclass(frozen=True, slots=True)
class Round:
    """`b` alone and beside the flood: milliseconds from the intended start. `refused`, `failed`: of `b`, beside it.

    `served`: answers a second of both tenants while the flood ran; `full`: of the peak.
    """

    alone_p50: float
    alone_p99: float
    beside_p50: float
    beside_p99: float
    refused: int
    failed: int
    served: float
    full: float

    @property
    def ratio(self) -> float:
        return self.beside_p99 / self.alone_p99


def main() -> None:
    """Prints a table, and writes the numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tenants", description=__doc__)
    parser.add_argument("--models", default="identity,minilm", help="of these two [identity,minilm]")
    parser.add_argument("--seconds", type=float, default=25.0, help="of each load [25]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    given = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=120)
    found = {name: measure(name, given.rounds, given.seconds) for name in given.models.split(",")}
    show(console, found)
    RESULTS.mkdir(exist_ok=True)
    content = {name: [asdict(one) for one in rounds] for name, rounds in found.items()}
    path = RESULTS / "tenants.json"
    path.write_text(json.dumps({"machine": machine(), **vars(given), "found": content}, indent=2))
    console.print(f"written to {path}")


def measure(name: str, rounds: int, seconds: float) -> list[Round]:
    """Rounds over a gateway of its own that serves one model: `identity`, whose batches wait, or `minilm`."""
    tenants = {tenant: {"keys": [hashlib.sha256(key.encode()).hexdigest()]} for tenant, key in KEYS.items()}
    with ExitStack() as stack:
        arguments = ["--tenants", json.dumps(tenants)]
        if name == "identity":
            arguments += ["--model-repository", stack.enter_context(_slow_identity())]
        url = stack.enter_context(server.running([*arguments, "--models", _models(name)]))
        bodies = _bodies(name)
        pool = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        return [_round(url, name, bodies, pool, seconds, seed) for seed in range(rounds)]


def _round(url: str, name: str, bodies: Sequence[bytes], pool: ProcessPoolExecutor, seconds: float, seed: int) -> Round:
    infer = f"{url}/v2/models/{name}/infer"
    flood, other = (
        [post(infer, body, f"authorization: Bearer {KEYS[tenant]}\r\n{more}") for body in bodies]
        for tenant, more in (("a", _DEADLINE), ("b", ""))
    )
    exchanges = closed_loop(url, other, _PEAK_CONNECTIONS, 4.0)
    since = exchanges[0].sent + 1.0
    peak = sum(one.status == 200 and one.done > since for one in exchanges) / 3.0
    alone = _counted(open_loop(url, lambda n: other[n % len(other)], SHARE * peak, seconds, seed))
    flooding = pool.submit(_flood, url, flood, FLOOD * peak, seconds, seed + 100)
    exchanges = open_loop(url, lambda n: other[n % len(other)], SHARE * peak, seconds, seed)
    beside = _counted(exchanges)
    answered = flooding.result() + sum(one.status == 200 for one in exchanges)
    return Round(
        *_times(alone),
        *_times(beside),
        refused=sum(one.status == 429 for one in beside),
        failed=sum(one.status not in (200, 429) for one in beside),
        served=answered / seconds,
        full=peak,
    )


def _flood(url: str, requests: Sequence[bytes], rate: float, seconds: float, seed: int) -> int:
    """Answers that a flood got."""
    exchanges = open_loop(url, lambda n: requests[n % len(requests)], rate, seconds, seed)
    return sum(one.status == 200 for one in exchanges)


def _counted(exchanges: Sequence[Exchange]) -> list[Exchange]:
    since = exchanges[0].intended + _SETTLES
    return [one for one in exchanges if one.intended >= since]


def _times(exchanges: Sequence[Exchange]) -> tuple[float, float]:
    times = [1000 * one.seconds for one in exchanges if one.status == 200] or [float("nan")]
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))


def _slow_identity() -> "tempfile.TemporaryDirectory[str]":
    folder = tempfile.TemporaryDirectory()
    model = shutil.copytree("model_repository/identity", Path(folder.name) / "identity")
    config = model / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 64", "max_batch_size: 16") + _SLOW)
    return folder


def _models(name: str) -> str:
    return name if name == "identity" else "minilm_openvino"


def _bodies(name: str) -> list[bytes]:
    if name == "identity":
        return [json.dumps(BODY).encode()]
    outputs = [{"name": "embedding", "parameters": {"binary_data": True}}]
    return [
        json.dumps(
            {
                "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}],
                "outputs": outputs,
            }
        ).encode()
        for text in load_texts(256)
    ]


def show(console: Console, found: dict[str, list[Round]]) -> None:
    """Prints the table."""
    table = Table(title=f"Tenants on {machine()}", title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in ("model", "alone p50", "p99", "beside p50", "p99", "ratio of p99", "refused", "failed", "of peak"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, rounds in found.items():
        for one in rounds:
            times = (one.alone_p50, one.alone_p99, one.beside_p50, one.beside_p99)
            cells = [*(f"{time:.1f}" for time in times), f"{one.ratio:.2f}", str(one.refused), str(one.failed)]
            table.add_row(name, *cells, f"{one.served / one.full:.2f}")
        table.add_row(name, "", "", "", "median", f"{median(one.ratio for one in rounds):.2f}")
    console.print(table)
    console.print("milliseconds of tenant b from the intended start; of peak: answers of both while a floods")


if __name__ == "__main__":
    main()
