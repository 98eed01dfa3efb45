"""How often the semantic cache answers, and how often wrongly, by its threshold: `python -m benchmarks.semantic`.

Messages of Banking77, each asked once, over HTTP. The model is `echo`: its answer is the question that it was made for,
so that the answer to another question says which one, and Banking77 says whether both are of one intent.
"""

import argparse
import csv
import http.client
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import urlsplit

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import server
from benchmarks.texts import BANKING77

THRESHOLDS = (0.80, 0.85, 0.90, 0.95)
WORKERS = 4
_SEED = 7


@dataclass(slots=True)
class Result:
    """Of one threshold. `wrong`: hits whose two messages are of different intents, with a few of them."""

    threshold: float
    asked: int = 0
    hits: int = 0
    wrong: int = 0
    pairs: list[tuple[str, str]] = field(default_factory=list)


def main() -> None:
    """Prints the table, and some of what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, help="ask so many of them; all by default")
    messages = parser.parse_args().messages
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if not BANKING77.exists():
        console.print(f"skipped: there is no {BANKING77}")
        return
    intents = _intents()
    texts = sorted(intents)
    random.Random(_SEED).shuffle(texts)  # noqa: S311
    asked = texts[:messages]
    with server.running(_arguments()) as url, Progress(console=console, transient=True) as progress:
        task = progress.add_task("asking", total=len(asked) * len(THRESHOLDS))
        results = [_measure(url, one, asked, intents, lambda: progress.advance(task)) for one in THRESHOLDS]
    console.print(_table(results, len(asked)))
    for one, other in results[-1].pairs[:10]:
        console.print(f"wrong at {results[-1].threshold:.2f}: {one!r} got the answer to {other!r}", highlight=False)


def _intents() -> dict[str, str]:
    """Messages that the classifier has not learnt from, and their intents."""
    with BANKING77.open(encoding="utf-8", newline="") as file:
        return {row["text"].strip(): row["category"] for row in csv.DictReader(file)}


def _name(threshold: float) -> str:
    return f"at{round(100 * threshold)}"


def _arguments() -> list[str]:
    """A cached route over `echo` for each threshold, with its own semantic cache, none of which is checked."""
    routes: dict[str, object] = {"minilm": {"variants": ["minilm_onnx"]}}
    routes |= {_name(one): {"variants": ["echo"], "cache": True} for one in THRESHOLDS}
    common = {"encoder": "minilm", "classifier": "intent", "sample": 0, "entries": 16_384}
    semantic = {_name(one): common | {"threshold": one} for one in THRESHOLDS}
    settings = {"routes": routes, "semantic": semantic, "pipelines": {}}
    told = [word for name, value in settings.items() for word in (f"--{name}", json.dumps(value))]
    return ["--models", "minilm_onnx,intent,intent_head,echo", *told]


def _measure(
    url: str, threshold: float, texts: Sequence[str], intents: dict[str, str], step: Callable[[], None]
) -> Result:
    result, lock = Result(threshold), Lock()
    waiting = iter(texts)

    def work() -> None:
        with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
            for text in _shared(waiting, lock):
                verdict, answer = _ask(connection, _name(threshold), text)
                with lock:
                    result.asked += 1
                    if verdict == "semantic":
                        result.hits += 1
                        if intents[answer.strip()] != intents[text]:
                            result.wrong += 1
                            result.pairs.append((text, answer))
                    step()

    with ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(work) for _ in range(WORKERS)]:
            done.result()
    return result


def _shared(texts: Iterator[str], lock: Lock) -> Iterator[str]:
    while True:
        with lock:
            text = next(texts, None)
        if text is None:
            return
        yield text


def _ask(connection: http.client.HTTPConnection, model: str, text: str) -> tuple[str, str]:
    """What the cache had to do with the answer, and the answer."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        raise RuntimeError(f"{text!r} was answered with {response.status}: {answer}")
    return response.headers.get("x-cache", ""), answer["choices"][0]["message"]["content"]


def _table(results: Sequence[Result], messages: int) -> Table:
    table = Table(title=f"{messages} messages of Banking77, each asked once", box=box.SIMPLE)
    for name in ("threshold", "hits", "hit rate", "wrong intent", "of all hits"):
        table.add_column(name, justify="right")
    for one in results:
        share = f"{one.wrong / one.hits:.1%}" if one.hits else "-"
        table.add_row(f"{one.threshold:.2f}", f"{one.hits}", f"{one.hits / one.asked:.1%}", f"{one.wrong}", share)
    return table


if __name__ == "__main__":
    main()
