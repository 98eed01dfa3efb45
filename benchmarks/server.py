"""A real `batchyard serve` in its own process, and what it says of itself."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

SERVE = (sys.executable, "-m", "service.cli", "serve", "--port", "0", "--grpc-port", "0", "--log-level", "error")


@contextmanager
def running(arguments: Sequence[str] = (), prefix: Sequence[str] = ()) -> Iterator[str]:
    """Starts a server on a free port and gives its URL once it is ready. `prefix`: a command to run it under."""
    with started([*prefix, *SERVE, *arguments]) as url:
        yield url


@contextmanager
def started(command: Sequence[str]) -> Iterator[str]:
    """Starts a server that says where it is in a line "ready: URL"."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        yield _url(process)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _url(process: subprocess.Popen[str]) -> str:
    for line in process.stdout or ():
        if line.startswith("ready: "):
            return line.split()[1]
    raise RuntimeError(f"the server ended with code {process.wait()} before it was ready; its log is above")


def get_json(url: str) -> Any:
    """The JSON behind a URL."""
    return json.loads(_read(url))


def post_json(url: str, body: bytes) -> Any:
    """The JSON answer to a JSON body."""
    return json.loads(_read(urllib.request.Request(url, body, {"Content-Type": "application/json"})))  # noqa: S310


def tokens(url: str) -> tuple[float, float]:
    """Tokens and padding tokens that the server's packed models have computed so far."""
    totals = {"batchyard_tokens_total": 0.0, "batchyard_padding_tokens_total": 0.0}
    for family in text_string_to_metric_families(_read(f"{url}/metrics").decode()):
        for sample in family.samples:
            if sample.name in totals:
                totals[sample.name] += sample.value
    return totals["batchyard_tokens_total"], totals["batchyard_padding_tokens_total"]


def _read(target: str | urllib.request.Request) -> bytes:
    with urllib.request.urlopen(target, timeout=30) as response:  # noqa: S310
        body: bytes = response.read()
        return body
