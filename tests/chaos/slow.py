"""`python -m tests.chaos.slow`: slowhttptest in its four modes, while good requests go on; one table.

Rounds with and without it alternate. It runs at the lowest priority: attackers bring processors of their own.
Needs slowhttptest (apt-get install slowhttptest).
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

from benchmarks.wire import Connection, Exchange, connect, post
from tests.e2e.processes import IDENTITY, Server, infer_body, serving, write_model

MISSING = "slowhttptest is not installed (apt-get install slowhttptest)"
INFER = "/v2/models/identity/infer"
MODES = {
    "slow headers": ("-H", "-i", "2", "-x", "24", "-t", "GET"),
    "slow body": ("-B", "-i", "2", "-s", "8192", "-x", "10", "-t", "POST"),
    "ranges": ("-R", "-a", "10", "-b", "3000", "-t", "HEAD"),
    "slow read": ("-X", "-w", "10", "-y", "20", "-n", "2", "-z", "5", "-k", "3"),
}
PATHS = {"slow body": INFER, "slow read": "/openapi.json"}
CALLERS = 8
_PAUSE = 0.02


def is_available() -> bool:
    """Is slowhttptest installed?"""
    return shutil.which("slowhttptest") is not None


@dataclass
class Good:
    """What became of good requests. `seconds`: latencies; `wrong`: answers that were not right, or did not come."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        return quantiles(self.seconds, n=100)[98] * 1000


@dataclass
class Result:
    """One mode. `most`: sockets that the server had open at once."""

    mode: str
    alone: list[Good]
    beside: list[Good]
    most: int = 0

    @property
    def ratio(self) -> float:
        """The median p99 of good requests beside the attack, over that without it."""
        return median(good.p99_ms for good in self.beside) / median(good.p99_ms for good in self.alone)

    @property
    def wrong(self) -> list[str]:
        return [fault for good in self.alone + self.beside for fault in good.wrong]


async def ask_well(url: str, over: asyncio.Event) -> Good:
    """Some callers that ask now and then, each on one connection, until it is over."""
    good = Good()
    await asyncio.gather(*(_ask(url, number, over, good) for number in range(CALLERS)))
    return good


async def _ask(url: str, number: int, over: asyncio.Event, good: Good) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    connection = await connect(url, lambda _: done.set())
    request, right = post(url + INFER, infer_body([number])), b'"data":[%d.0]' % number
    while not over.is_set():
        exchange = Exchange(request, loop.time())
        done.clear()
        connection.send(exchange)
        await asyncio.wait_for(done.wait(), 30)
        if exchange.status != 200 or right not in exchange.body:
            good.wrong.append(f"{exchange.status} {exchange.body[:200]!r}")
            connection = await _again(connection, url, done)
        good.seconds.append(exchange.seconds)
        await asyncio.sleep(_PAUSE)
    connection.close()


async def _again(connection: Connection, url: str, done: asyncio.Event) -> Connection:
    return await connect(url, lambda _: done.set()) if connection.gone else connection


def open_sockets(pid: int) -> int:
    """Sockets that a process has open."""
    return sum(map(_is_socket, Path(f"/proc/{pid}/fd").iterdir()))


def _is_socket(file: Path) -> bool:
    try:
        return os.readlink(file).startswith("socket:")
    except FileNotFoundError:  # closed since
        return False


async def attack(url: str, mode: str, connections: int, seconds: int) -> None:
    """Runs slowhttptest for so long, or until it has no connection left."""
    rate = ("-c", str(connections), "-r", str(max(20, connections // 5)), "-l", str(seconds), "-p", "5")
    command = ["nice", "-n", "19", "slowhttptest", *MODES[mode], *rate, "-u", url + PATHS.get(mode, "/v2")]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    await asyncio.wait_for(process.wait(), seconds + 60)


async def _timed(url: str, seconds: float) -> Good:
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    return await ask_well(url, over)


async def _attacked(server: Server, mode: str, connections: int, seconds: int) -> tuple[Good, int]:
    over = asyncio.Event()
    asking = asyncio.ensure_future(ask_well(url_of(server), over))
    running = asyncio.ensure_future(attack(url_of(server), mode, connections, seconds))
    most = 0
    while not running.done():
        most = max(most, open_sockets(server.process.pid))
        await asyncio.wait({running}, timeout=0.5)
    over.set()
    return await asking, most


def url_of(server: Server) -> str:
    """Where it answers."""
    return f"http://127.0.0.1:{server.port}"


async def play(
    server: Server, modes: Sequence[str], connections: int, seconds: int, rounds: int, console: Console
) -> list[Result]:
    """Every mode, in alternating rounds."""
    results = []
    url = url_of(server)
    await _timed(url, 1)
    for mode in modes:
        result = Result(mode, [], [])
        for number in range(rounds):
            console.print(f"{mode}, round {number + 1} of {rounds}", highlight=False)
            result.alone.append(await _timed(url, seconds))
            good, most = await _attacked(server, mode, connections, seconds)
            result.beside.append(good)
            result.most = max(result.most, most)
        results.append(result)
    return results


def show(console: Console, results: Sequence[Result]) -> None:
    """The table."""
    columns = ("mode", "p99 alone, ms", "p99 beside it, ms", "ratio", "good requests", "not right", "most sockets open")
    table = Table(*columns)
    for one in results:
        alone, beside = (median(good.p99_ms for good in goods) for goods in (one.alone, one.beside))
        asked = sum(len(good.seconds) for good in one.beside)
        table.add_row(
            one.mode,
            f"{alone:.1f}",
            f"{beside:.1f}",
            f"{one.ratio:.2f}",
            str(asked),
            str(len(one.wrong)),
            str(one.most),
        )
    console.print(table)


def main() -> None:
    """Reads the command line and plays; exit code 1 where a good request was not answered, or p99 doubled."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.slow", description=__doc__)
    parser.add_argument("--connections", type=int, default=1000, metavar="N", help="of each attack [1000]")
    parser.add_argument("--seconds", type=int, default=15, metavar="N", help="of each round [15]")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="with and without, of each mode [3]")
    parser.add_argument("--modes", default=",".join(MODES), metavar="A,B", help=f"of: {', '.join(MODES)}")
    known = parser.parse_args()
    if not is_available():
        parser.error(MISSING)
    console = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "models", "identity", IDENTITY)
        with serving(Path(folder), Path(folder) / "models") as server:
            modes = [mode.strip() for mode in known.modes.split(",")]
            results = asyncio.run(play(server, modes, known.connections, known.seconds, known.rounds, console))
    show(console, results)
    raise SystemExit(0 if all(one.ratio < 2 and not one.wrong for one in results) else 1)


if __name__ == "__main__":
    main()
