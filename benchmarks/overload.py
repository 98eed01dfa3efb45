"""What callers get when more is asked than the machine can do: `python -m benchmarks.overload`.

Poisson arrivals at fractions and multiples of the measured peak, every request with a deadline. Goodput counts right
answers that came within it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import server
from benchmarks.open_loop import closed_loop, open_loop
from benchmarks.overload_plot import plot
from benchmarks.report import RESULTS, machine
from benchmarks.texts import load_texts
from benchmarks.wire import Exchange, post

FACTORS = (0.5, 0.9, 1.5, 2.0, 3.0)
_PEAK_CONNECTIONS = 64
_PEAK_SECONDS = 10.0
_TEXTS = 512
"""Different messages; enough requests are made of them to go round."""
_ALIKE = 1e-3
"""Largest difference between two answers to one text: engines of a route round differently."""


@dataclass(frozen=True, slots=True)
class Level:
    """One offered load. Rates a second, times in milliseconds; `late_ms`: the latest answer behind its deadline.

    `goodput`: right answers within the deadline. `wrong`: answers that differ from those of the text alone. `batch_ms`:
    the longest engine run that an answer was in. `calibration`: share of answers within the predicted p95.
    """

    factor: float
    offered: float
    goodput: float
    refused: float
    failed: int
    wrong: int
    late: int
    late_ms: float
    batch_ms: float
    p50_ms: float
    p99_ms: float
    refusal_ms: float
    calibration: float
    sent_late_ms: float


def main() -> None:
    """Prints a table, and writes a plot and the numbers."""
    arguments = _arguments()
    console = Console() if sys.stdout.isatty() else Console(width=150)
    texts = load_texts(_TEXTS)
    with server.running(("--models", arguments.models) if arguments.models else ()) as url:
        infer = f"{url}/v2/models/{arguments.model}/infer"
        size = arguments.texts
        bodies = [_body(texts[start : start + size]) for start in range(0, len(texts) - size + 1, size)]
        right = [_vector(one) for one in closed_loop(url, [post(infer, body) for body in bodies], 1, 6.0)]
        right = right[: len(bodies)]
        peak = _peak(url, [post(infer, body) for body in bodies])
        console.print(f"peak: {peak:.0f}/s over {_PEAK_CONNECTIONS} connections, no deadline")
        requests = [post(infer, body, f"x-deadline-ms: {arguments.deadline_ms}\r\n") for body in bodies]
        levels = []
        for factor in track(arguments.factors, "loads", console=console, transient=True):
            rate = factor * peak
            exchanges = open_loop(url, lambda n: requests[n % len(requests)], rate, arguments.seconds, arguments.seed)
            levels.append(_level(factor, rate, exchanges, right, arguments))
    show(console, levels)
    path = _save(arguments, peak, levels)
    console.print(f"written to {path} and {plot(levels, arguments.deadline_ms, path.with_suffix('.svg'))}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--model", default="minilm", help="a model or route with an input `text` [minilm]")
    parser.add_argument("--models", default="", help="what the server loads, a,b [all]")
    parser.add_argument("--deadline-ms", type=int, default=100, help="of every request [100]")
    parser.add_argument("--texts", type=int, default=1, help="messages in a request [1]")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load [20]")
    parser.add_argument("--seed", type=int, default=1, help="of the arrivals [1]")
    parser.add_argument("--factors", type=_numbers, default=FACTORS, help="of the peak, a,b [0.5,0.9,1.5,2,3]")
    return parser.parse_args()


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _body(texts: Sequence[str]) -> bytes:
    outputs = [{"name": "embedding", "parameters": {"binary_data": True}}]
    inputs = [{"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}]
    return json.dumps({"inputs": inputs, "outputs": outputs}).encode()


def _peak(url: str, requests: Sequence[bytes]) -> float:
    """Answers a second of a closed loop, after a first second that warms up."""
    exchanges = closed_loop(url, requests, _PEAK_CONNECTIONS, _PEAK_SECONDS + 1)
    start = exchanges[0].sent + 1
    return sum(one.status == 200 and one.done > start for one in exchanges) / _PEAK_SECONDS


def _vector(exchange: Exchange) -> np.ndarray:
    size = int(_header(exchange, b"inference-header-content-length"))
    return np.frombuffer(exchange.body[size:], np.float32)


def _header(exchange: Exchange, name: bytes) -> float:
    start = exchange.head.find(b"\r\n" + name + b": ")
    if start < 0:
        return float("nan")
    start += len(name) + 4
    end = exchange.head.find(b"\r", start)
    return float(exchange.head[start : end if end >= 0 else None])


def _level(
    factor: float, rate: float, exchanges: Sequence[Exchange], right: Sequence[np.ndarray], given: argparse.Namespace
) -> Level:
    deadline = given.deadline_ms / 1000
    answered = [(number, one) for number, one in enumerate(exchanges) if one.status == 200]
    wrong = {n for n, one in answered if np.abs(_vector(one) - right[n % len(right)]).max() > _ALIKE}
    good = [one for n, one in answered if n not in wrong and one.seconds <= deadline]
    refused = [one for one in exchanges if one.status == 429]
    times = [1000 * one.seconds for _, one in answered] or [float("nan")]
    late = [1000 * (one.seconds - deadline) for _, one in answered if one.seconds > deadline]
    within = [_header(one, b"x-actual-ms") <= _header(one, b"x-predicted-p95-ms") for _, one in answered]
    return Level(
        factor,
        rate,
        len(good) / given.seconds,
        len(refused) / given.seconds,
        len(exchanges) - len(answered) - len(refused),
        len(wrong),
        len(late),
        max(late, default=0.0),
        max((_header(one, b"x-engine-ms") for _, one in answered), default=float("nan")),
        float(np.percentile(times, 50)),
        float(np.percentile(times, 99)),
        1000 * median([one.done - one.sent for one in refused]) if refused else float("nan"),
        sum(within) / len(within) if within else float("nan"),
        float(np.percentile([1000 * (one.sent - one.intended) for one in exchanges], 99)),
    )


def show(console: Console, levels: Sequence[Level]) -> None:
    """Prints the table; each goodput also as a share of the best."""
    best = max(level.goodput for level in levels)
    table = Table(title=f"Overload on {machine()}", title_justify="left", box=box.SIMPLE, pad_edge=False)
    names = ("load", "offered/s", "goodput/s", "of best", "refused/s", "failed", "wrong", "late", "latest", "batch")
    for name in (*names, "p50", "p99", "refusal", "calibration", "sent late"):
        table.add_column(name, justify="right", no_wrap=True)
    for level in levels:
        table.add_row(
            f"{level.factor:g}x",
            f"{level.offered:,.0f}",
            f"{level.goodput:,.0f}",
            f"{level.goodput / best:.3f}",
            f"{level.refused:,.0f}",
            str(level.failed),
            str(level.wrong),
            str(level.late),
            f"{level.late_ms:.1f}",
            f"{level.batch_ms:.1f}",
            f"{level.p50_ms:.1f}",
            f"{level.p99_ms:.1f}",
            f"{level.refusal_ms:.1f}",
            f"{level.calibration:.3f}",
            f"{level.sent_late_ms:.1f}",
        )
    console.print(table)
    console.print("times in milliseconds from the intended start; refusal: the median from sending; sent late: the p99")


def _save(arguments: argparse.Namespace, peak: float, levels: Sequence[Level]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "overload.json"
    content = {"machine": machine(), "peak": peak, **vars(arguments), "levels": [asdict(level) for level in levels]}
    path.write_text(json.dumps(content, indent=2))
    return path


if __name__ == "__main__":
    main()
