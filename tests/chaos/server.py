"""The server under test: a real `batchyard serve`, its engine processes, its numbers."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.callers import DEADLINE
from tests.chaos.ledger import SUCCESS, Count
from tests.chaos.repository import ROOT

DRAIN, GRACE = 1, 10
"""Seconds: the listener stays open so long after SIGTERM, and accepted requests get so long then."""
_START = 120.0
_ENDS = DRAIN + GRACE + 10.0
_POLL = 0.02
_ENGINE = b"engines.apart_child"


@dataclass(frozen=True, slots=True)
class Numbers:
    """One scrape. `pending`: parts that wait; `restarts`: engines opened anew; `memory`: bytes resident; `files`: open
    descriptors.
    """

    count: Count
    pending: float
    restarts: float
    memory: float
    files: float


@dataclass(slots=True)
class Server:
    """A running server. `engines`: its engine processes once it was ready. `_seen`: all that it ever had."""

    process: "subprocess.Popen[bytes]"
    host: str
    port: int
    log: Path
    last: Path
    repository: Path
    engines: int = 0
    _seen: set[int] = field(default_factory=set)

    def engine_ids(self) -> list[int]:
        """Its engine processes, ascending."""
        found = sorted(pid for pid in children(self.process.pid) if _ENGINE in _command(pid))
        self._seen.update(found)
        return found

    async def owed_restarts(self) -> float:
        """Engine processes that ended, as far as they were seen, less those that were opened anew: the same before and
        after a fault, once every instance serves again.
        """
        gone = len(self._seen) - len(self.engine_ids())
        return gone - (await self.numbers()).restarts

    async def numbers(self) -> Numbers:
        """What /metrics says now."""
        async with httpx.AsyncClient(timeout=30) as client:
            return read_numbers((await client.get(f"http://{self.host}:{self.port}/metrics")).text)

    async def settled(self, seconds: float) -> Numbers:
        """The numbers once nothing waits and all engine processes are there again; raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while True:
                found = await self.numbers()
                if not found.pending and len(self.engine_ids()) == self.engines:
                    return found
                await asyncio.sleep(5 * _POLL)

    async def replaced(self, gone: Sequence[int], owed: float) -> None:
        """Waits until these engine processes have ended, and as many as ever serve; `owed`: restarts before."""
        while set(owned := self.engine_ids()) & set(gone) or len(owned) < self.engines:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
        while await self.owed_restarts() > owed:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)

    async def control(self, model: str, action: str) -> httpx.Response:
        """Asks for a model to be loaded or unloaded."""
        async with httpx.AsyncClient(timeout=60) as client:
            url = f"http://{self.host}:{self.port}/v2/repository/models/{model}/{action}"
            return await client.post(url, json={})

    def tell_to_stop(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> tuple[int, Numbers, Sequence[int]]:
        """Its exit code, its last numbers, and the engine processes that outlived it; raises `TimeoutError`."""
        owned = self.engine_ids()
        async with asyncio.timeout(_ENDS):
            while self.process.poll() is None:
                owned = self.engine_ids() or owned
                await asyncio.sleep(_POLL)
        left = [pid for pid in owned if _ENGINE in _command(pid)]
        numbers = read_numbers(self.last.read_text("utf-8")) if self.last.exists() else read_numbers("")
        return self.process.returncode, numbers, left

    def kill(self) -> None:
        """Ends it, however it stands."""
        _end(self.process)


async def start(repository: Path, models: Sequence[str]) -> Server:
    """Starts a server on a free port and waits until it is ready; raises `RuntimeError` with the end of its log."""
    log, last = repository.parent / "server.log", repository.parent / "last.txt"
    last.unlink(missing_ok=True)
    settings: Mapping[str, object] = {
        "--port": 0,
        "--grpc-port": 0,
        "--log-level": "warning",
        "--model-repository": repository,
        "--models": ",".join(models),
        "--routes": "{}",
        "--pipelines": "{}",
        "--default-timeout-ms": int(DEADLINE * 1000),
        "--drain-seconds": DRAIN,
        "--shutdown-grace-seconds": GRACE,
        "--allow-control": "true",
    }
    arguments = [str(word) for setting in settings.items() for word in setting]
    command = [sys.executable, "-m", "tests.chaos.served", str(last), "serve", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHYARD_")}
    with log.open("ab") as output:
        begin = output.tell()
        pipes: Mapping[str, Any] = {"stdin": subprocess.PIPE, "stdout": output, "stderr": output}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)  # noqa: ASYNC220
    try:
        host, port = await _address(process, log, begin)
    except BaseException:
        _end(process)
        raise
    server = Server(process, host, port, log, last, repository)
    server.engines = len(server.engine_ids())
    return server


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


async def _address(process: "subprocess.Popen[bytes]", log: Path, begin: int) -> tuple[str, int]:
    async with asyncio.timeout(_START):
        while True:
            text = _text_from(log, begin)
            for line in text.splitlines(keepends=True):
                if line.startswith("ready: ") and line.endswith("\n"):
                    url = urlsplit(line.split()[1])
                    return str(url.hostname), int(url.port or 80)
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with code {process.returncode}: {text[-2000:]}")
            await asyncio.sleep(_POLL)


def _text_from(log: Path, begin: int) -> str:
    return log.read_bytes()[begin:].decode("utf-8", "replace")


def read_numbers(text: str) -> Numbers:
    """The numbers in Prometheus' text format."""
    count: Count = Counter()
    names = (
        "nv_inference_pending_request_count",
        "batchyard_engine_restarts_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    )
    sums = dict.fromkeys(names, 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if family.name == "nv_inference_request_success":
                count[sample.labels["model"], SUCCESS] += int(sample.value)
            elif family.name == "nv_inference_request_failure":
                count[sample.labels["model"], sample.labels["reason"]] += int(sample.value)
            elif sample.name in sums:
                sums[sample.name] += sample.value
    return Numbers(count, *sums.values())


def children(parent: int) -> list[int]:
    """The processes that `parent` started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(status[1]) == parent and status[0] != "Z":
            found.append(int(folder.name))
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
