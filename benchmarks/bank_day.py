"""A day of a bank: messages as customers send them, few of them often and most of them seldom, with the cache and
without. `python -m benchmarks.bank_day`.

Which message comes is drawn by Zipf's law with exponent 1, as queries and page views come (L. Breslau et al., "Web
Caching and Zipf-like Distributions", 1999).
"""

import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from statistics import median

from rich.console import Console
from rich.progress import Progress

from benchmarks import report, server
from benchmarks.minilm import Step
from benchmarks.open_loop import replay
from benchmarks.report import Row
from benchmarks.texts import BANKING77
from benchmarks.wire import Exchange, post

CONNECTIONS = 64
ROUNDS = 3
_DAY = 24_000
"""Messages of a day."""
_SHARE = 8
"""One of so many is sent without the cache: as fast at the end of the day as at its beginning."""
_SEED = 7
_MOST_SECONDS = 300.0
_MODEL = "intent"
_NO_STORE = "cache-control: no-store\r\n"
_LOAD = (CONNECTIONS, _MOST_SECONDS)


def reason_to_skip() -> str:
    """Why this cannot be measured here; "" where it can."""
    return "" if BANKING77.exists() else f"no Banking77 at {BANKING77.parent}"


def messages(count: int, seed: int) -> list[str]:
    """`count` messages of Banking77, drawn by Zipf's law; the ranks are a random order."""
    texts: list[str] = []
    for path in (BANKING77.with_name("train.csv"), BANKING77):
        with path.open(encoding="utf-8", newline="") as file:
            texts += [row["text"] for row in csv.DictReader(file)]
    random = Random(seed)  # noqa: S311
    random.shuffle(texts)
    weights = list(accumulate(1 / rank for rank in range(1, len(texts) + 1)))
    return random.choices(texts, cum_weights=weights, k=count)


def measure(url: str, step: Step) -> tuple[list[Row], list[str]]:
    """Answers a second with the cache, empty at first, and without, in turns."""
    day = messages(_DAY, _SEED)
    asked = f"{url}/v2/models/{_MODEL}/infer"
    cached, computed, ratios, hits = [], [], [], 0.0
    bad: Counter[str] = Counter()
    for number in range(ROUNDS):
        step("a day of a bank, without the cache")
        without = replay(asked, [_request(asked, text, number, _NO_STORE) for text in day[::_SHARE]], *_LOAD)
        step("a day of a bank, with the cache")
        with_it = replay(asked, [_request(asked, text, number, "") for text in day], *_LOAD)
        computed.append(_rate(without))
        cached.append(_rate(with_it))
        ratios.append(cached[-1] / computed[-1])
        bad.update(f"{one.status} {one.body[:160]!r}" for one in (*without, *with_it) if one.status != 200)
        hits = sum(b"x-cache: hit" in one.head for one in with_it) / len(with_it)
    rows = [
        Row(f"a day of a bank, no cache, {CONNECTIONS} conn.", median(computed), tuple(computed)),
        Row(
            f"a day of a bank, cache, {CONNECTIONS} conn.",
            median(cached),
            tuple(cached),
            median(ratios),
            errors=bad.total(),
        ),
    ]
    return rows, [f"a day of a bank: {_DAY} messages, {len(set(day))} different, {hits:.0%} hits; seed {_SEED}"] + [
        f"{count} times {what}" for what, count in bad.most_common(3)
    ]


def _request(url: str, text: str, number: int, headers: str) -> bytes:
    """`number`: of the round, which begins with an empty cache by a parameter that nobody looks at."""
    given = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    outputs = [{"name": "label"}, {"name": "confidence"}]
    content = {"inputs": [given], "outputs": outputs, "parameters": {"round": number}}
    return post(url, json.dumps(content).encode(), headers)


def _rate(exchanges: Sequence[Exchange]) -> float:
    good = [one for one in exchanges if one.status == 200]
    return len(good) / (max(one.done for one in good) - min(one.sent for one in good))


def main() -> None:
    """Prints the two lines and writes them under benchmarks/results."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    skipped = reason_to_skip()
    if skipped:
        console.print(f"skipped: {skipped}")
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("starting the server", total=2 * ROUNDS)
        with server.running(("--models", "intent,intent_head,minilm_openvino")) as url:
            rows, notes = measure(url, lambda what: progress.update(task, advance=1, description=what))
    report.show(console, rows, notes)
    console.print(f"written to {report.save(rows, notes)}")


if __name__ == "__main__":
    main()
