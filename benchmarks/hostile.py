"""Bad requests to a language model, and what others feel of them: `python -m benchmarks.hostile`."""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from statistics import median
from urllib.parse import urlsplit

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import server

MODEL = "assistant"
TIMES = 5
_HELLO = [{"role": "user", "content": "hello"}]
_KIDS = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}


def _chat(**changes: object) -> bytes:
    return json.dumps({"model": MODEL, "messages": _HELLO, **changes}).encode()


def _schema(schema: object) -> bytes:
    return _chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})


def requests() -> Mapping[str, tuple[str, bytes]]:
    """Name -> path and body; each is a 400."""
    chat, completions = "/v1/chat/completions", "/v1/completions"
    return {
        "empty messages": (chat, _chat(messages=[])),
        "prompt of 10 MB": (chat, _chat(messages=[{"role": "user", "content": "word " * 2_000_000}])),
        "prompt of 3 MB": (chat, _chat(messages=[{"role": "user", "content": "word " * 600_000}])),
        "prompt of 100 kB": (chat, _chat(messages=[{"role": "user", "content": "word " * 20_000}])),
        "n = 2^31": (chat, _chat(n=2**31)),
        "10^5 stop strings": (chat, _chat(stop=[f"stop {number}" for number in range(100_000)])),
        "max_tokens beyond the window": (chat, _chat(max_tokens=100_000)),
        "unknown role": (chat, _chat(messages=[{"role": "wizard", "content": "hello"}])),
        "token ids out of range": (completions, json.dumps({"model": MODEL, "prompt": [1, 2, 10**9]}).encode()),
        "recursive JSON schema": (chat, _schema(_KIDS)),
        "JSON nested 100,000 deep": (chat, b'{"model":"assistant","messages":' + b"[" * 100_000),
        "10^5 messages": (chat, _chat(messages=_HELLO * 100_000)),
        "logit_bias of 10^5 tokens": (chat, _chat(logit_bias={str(token): 1 for token in range(100_000)})),
    }


@dataclass(frozen=True, slots=True)
class Refusal:
    """How one request was answered. Times in milliseconds. `lag`: the slowest of the pings meanwhile."""

    status: int
    param: str
    median_ms: float
    worst_ms: float
    lag_ms: float


class _Pings(threading.Thread):
    """Asks for the server's health over and over."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self.worst = 0.0
        self.going = True
        self._connection = HTTPConnection(host, port, timeout=30)

    def run(self) -> None:
        while self.going:
            start = time.perf_counter()
            self._connection.request("GET", "/v2/health/live")
            self._connection.getresponse().read()
            self.worst = max(self.worst, time.perf_counter() - start)
            time.sleep(0.001)


def measure(url: str, path: str, body: bytes) -> Refusal:
    """Sends a request `TIMES` times, while another caller asks for the server's health."""
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 80)
    pings = _Pings(host, port)
    pings.start()
    times = []
    status, answer = 0, b""
    for _ in range(TIMES):
        connection = HTTPConnection(host, port, timeout=30)
        connection.connect()
        start = time.perf_counter()
        connection.request("POST", path, body)
        response = connection.getresponse()
        status, answer = response.status, response.read()
        times.append((time.perf_counter() - start) * 1000)
        connection.close()
    pings.going = False
    pings.join()
    param = str(json.loads(answer)["error"]["param"])
    return Refusal(status, param, median(times), max(times), pings.worst * 1000)


def main() -> None:
    """Prints a table."""
    table = Table(title="Refused requests", title_justify="left", box=box.SIMPLE, pad_edge=False)
    for name in ("request", "status", "param", "median ms", "worst ms", "slowest neighbour ms"):
        table.add_column(name, no_wrap=True)
    with server.running(("--models", MODEL)) as url:
        measure(url, *requests()["unknown role"])
        for name, (path, body) in requests().items():
            found = measure(url, path, body)
            times = (f"{value:.1f}" for value in (found.median_ms, found.worst_ms, found.lag_ms))
            table.add_row(name, str(found.status), found.param, *times)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
