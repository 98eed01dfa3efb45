"""What the gate saves on long texts, and what they do to the short ones beside them: `python -m benchmarks.long_text`.

Documents of 10,000 tokens go through a server of their own, in windows: all of them, and those that the gate keeps.
Then short messages arrive as a Poisson process, alone and while documents are computed one after the other.
"""

import argparse
import json
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from threading import Event
from time import perf_counter

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import server
from benchmarks.long_text_documents import Document, documents
from benchmarks.open_loop import open_loop
from benchmarks.report import machine
from benchmarks.texts import load_texts
from benchmarks.wire import post
from engines.repository import read_config
from engines.tensor import Array
from engines.text import Tokenizer

REPOSITORY = Path("model_repository")
LAYERS, HIDDEN = 6, 384
"""Of MiniLM."""
PARAMETERS = 12 * LAYERS * HIDDEN**2
"""That every token is multiplied with: four square matrices of attention, and two to four times the width and back."""
_TEXTS, _SEED = 512, 7
_ALONE, _BESIDE = "alone", "beside documents"
_COUNTERS = ("nv_inference_count_total", "batchyard_tokens_total", "batchyard_padding_tokens_total")


@dataclass(frozen=True, slots=True)
class Answer:
    """A document's vector; seconds it took over HTTP; windows and tokens that the server computed for it.

    `flops`: 2 x parameters x tokens, and attention over whole rows, padding included.
    """

    vector: Array
    seconds: float
    windows: int
    flops: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A document in full and gated, each the answer of the median time."""

    name: str
    full: Answer
    gated: Answer

    @property
    def cosine(self) -> float:
        full, gated = self.full.vector, self.gated.vector
        return float(full @ gated / np.linalg.norm(full) / np.linalg.norm(gated))


def main() -> None:
    """Prints one table of documents, and one of short messages."""
    arguments = _arguments()
    console = Console() if sys.stdout.isatty() else Console(width=150)
    model = REPOSITORY / arguments.model
    config = read_config(model)
    if config.text is None or not config.text.windows:
        raise SystemExit(f"{arguments.model} splits no long texts: set batchyard.text.windows in its config.pbtxt")
    made = list(documents(Tokenizer.from_file(model / config.text.tokenizer, config.text.max_tokens)))
    with server.running(("--models", arguments.model)) as url:
        infer = f"{url}/v2/models/{arguments.model}/infer"
        width = config.packing.widths[-1] if config.packing else config.text.max_tokens
        steps = track(made, "documents", console=console, transient=True)
        compared = [_compare(document, url, infer, width, arguments) for document in steps]
        _show(console, compared, arguments)
        if arguments.seconds:
            times = _short(console, infer, made, arguments)
            _show_short(console, times, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.long_text", description=__doc__.partition("\n\n")[2])
    add = parser.add_argument
    add("--model", default="minilm_openvino", help="a packed MiniLM of model_repository (minilm_openvino)")
    add("--gate", type=float, default=0.62, help="the share of windows that may be left out (0.62)")
    add("--rounds", type=int, default=5, help="times each document is sent (5); medians are shown")
    add("--rate", type=float, default=40, help="short messages a second (40)")
    add("--seconds", type=float, default=20, help="of short messages, alone and again beside documents (20); 0: none")
    return parser.parse_args()


def _compare(document: Document, url: str, infer: str, width: int, arguments: argparse.Namespace) -> Compared:
    """Full and gated take turns, so that noise meets both alike."""
    rounds: dict[float, list[Answer]] = {0.0: [], arguments.gate: []}
    for _ in range(arguments.rounds):
        for gate, answers in rounds.items():
            answers.append(_ask(document, url, infer, width, gate))
    full, gated = (sorted(answers, key=lambda one: one.seconds)[len(answers) // 2] for answers in rounds.values())
    return Compared(document.name, full, gated)


def _ask(document: Document, url: str, infer: str, width: int, gate: float) -> Answer:
    body = _body(document.text, gate)
    before = _counters(url)
    start = perf_counter()
    answer = server.post_json(infer, body)
    seconds = perf_counter() - start
    windows, *tokens = (now - then for now, then in zip(_counters(url), before, strict=True))
    slots = sum(tokens)
    flops = slots * (2 * PARAMETERS + 4 * LAYERS * HIDDEN * width)
    return Answer(np.array(answer["outputs"][0]["data"]), seconds, int(windows), flops)


def _body(text: str, gate: float = 0.0) -> bytes:
    inputs = [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]
    return json.dumps({"inputs": inputs, "parameters": {"gate": gate}}).encode()


def _counters(url: str) -> Sequence[float]:
    """Windows, tokens and padding that the server has computed so far."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:  # noqa: S310
        families = text_string_to_metric_families(response.read().decode())
    totals = dict.fromkeys(_COUNTERS, 0.0)
    for family in families:
        for sample in family.samples:
            if sample.name in totals:
                totals[sample.name] += sample.value
    return list(totals.values())


def _show(console: Console, compared: Sequence[Compared], arguments: argparse.Namespace) -> None:
    title = f"{arguments.model}, gate {arguments.gate:g}, medians of {arguments.rounds}, on {machine()}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    table.add_column("document", no_wrap=True)
    for column in ("windows", "kept", "full s", "gated s", "times faster", "FLOPs saved", "cosine to full"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in compared:
        full, gated = one.full, one.gated
        figures = (f"{full.windows}", f"{gated.windows}", f"{full.seconds:.2f}", f"{gated.seconds:.2f}")
        ratios = (f"{full.seconds / gated.seconds:.2f}", f"{1 - gated.flops / full.flops:.0%}", f"{one.cosine:.4f}")
        table.add_row(one.name, *figures, *ratios)
    console.print(table)
    worst = min(one.full.seconds / one.gated.seconds for one in compared)
    console.print(f"least: {worst:.2f} times faster, cosine {min(one.cosine for one in compared):.4f}")


def _short(
    console: Console, infer: str, made: Sequence[Document], arguments: argparse.Namespace
) -> Mapping[str, Sequence[float]]:
    """Milliseconds of each short message: alone, and beside documents in full, one always under way."""
    requests = [post(infer, _body(text)) for text in load_texts(_TEXTS)]

    def load() -> list[float]:
        found = open_loop(infer, lambda n: requests[n % _TEXTS], arguments.rate, arguments.seconds, _SEED)
        if wrong := [one for one in found if one.status != 200]:
            raise SystemExit(f"{len(wrong)} of {len(found)} short messages failed: {wrong[0].body[:200]!r}")
        return [1000 * one.seconds for one in found]

    times: dict[str, Sequence[float]] = {}
    for what in track((_ALONE, _BESIDE), "short messages", console=console, transient=True):
        times[what] = load() if what == _ALONE else _beside(load, infer, made)
    return times


def _beside(load: Callable[[], list[float]], infer: str, made: Sequence[Document]) -> list[float]:
    over = Event()

    def stream() -> None:
        for document in cycle(made):
            if over.is_set():
                return
            server.post_json(infer, _body(document.text))

    with ThreadPoolExecutor(1) as threads:
        streaming = threads.submit(stream)
        try:
            times = load()
        finally:
            over.set()
        streaming.result()
    return times


def _show_short(console: Console, times: Mapping[str, Sequence[float]], arguments: argparse.Namespace) -> None:
    title = f"short messages, {arguments.rate:g} a second for {arguments.seconds:g} s"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in ("", "messages", "p50 ms", "p99 ms", "p99 as many times"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    alone = float(np.percentile(times[_ALONE], 99))
    for what, found in times.items():
        p50, p99 = np.percentile(found, (50, 99))
        table.add_row(what, f"{len(found)}", f"{p50:.1f}", f"{p99:.1f}", f"{p99 / alone:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
