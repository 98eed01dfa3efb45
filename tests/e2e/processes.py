"""A `batchyard serve` over a small repository, and callers that keep asking it while it stops or loads models."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
IDENTITY = """
backend: "identity" max_batch_size: 64 dynamic_batching { }
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""


def parameter(name: str, value: object) -> str:
    return f'parameters {{ key: "batchyard.{name}" value {{ string_value: "{value}" }} }}\n'


def write_model(root: Path, name: str, config: str, *versions: str) -> None:
    for version in versions or ("1",):
        (root / name / version).mkdir(parents=True, exist_ok=True)
    (root / name / "config.pbtxt").write_text(config)


@dataclass
class Server:
    """A server of one's own. `log`: its standard error. `grpc`: `host:port`."""

    process: "subprocess.Popen[str]"
    port: int
    log: Path
    grpc: str = ""

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def children(self) -> list[int]:
        """Process ids of its children, by now."""
        folder = Path(f"/proc/{self.process.pid}/task")
        lists = [(task / "children").read_text() for task in folder.iterdir()]
        return [int(pid) for text in lists for pid in text.split()]


@contextmanager
def serving(folder: Path, repository: Path, *arguments: str) -> Iterator[Server]:
    """Runs it in `folder`, so that no gateway.toml is found by chance."""
    log = folder / "log.jsonl"
    command = [
        sys.executable,
        "-m",
        "service.cli",
        "serve",
        "--port",
        "0",
        "--grpc-port",
        "0",
        "--model-repository",
        str(repository),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHYARD_")}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            env=environment | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            lines = _lines(process.stdout)
            assert "ready" in lines, log.read_text()
            yield Server(process, int(lines["ready"].split()[0].rpartition(":")[2]), log, lines.get("grpc", ""))
        finally:
            process.kill()


def _lines(stdout: Iterable[str]) -> dict[str, str]:
    """What the server says of its addresses, by the first word of each line; "ready" is the last."""
    found: dict[str, str] = {}
    for line in stdout:
        word, _, rest = line.strip().partition(": ")
        found[word] = rest
        if word == "ready":
            break
    return found


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Tally:
    """How requests ended. `faults`: what was wrong with those that were answered wrongly."""

    ends: "Counter[str]" = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class CutError(Exception):
    """The connection ended after the request was sent, before its answer was whole."""


class Connection:
    """One HTTP/1.1 connection, kept alive as long as the server does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Raises `ConnectionRefusedError` where it cannot connect, `CutError` after that."""
        if self._streams is None:
            self._streams = await self._open()
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            writer.write(head.encode() + body)
            answer = await _read(reader)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.close()
            raise CutError(repr(error)) from error
        if "close" in answer.headers.get("connection", ""):
            self.close()
        return answer

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection("127.0.0.1", self._port)
        except ConnectionResetError as error:
            raise ConnectionRefusedError("reset before it was connected") from error

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def ask_once(port: int, path: str, body: bytes = b"") -> Answer:
    """POSTs on a connection of its own."""
    with closing(Connection(port)) as connection:
        return await connection.ask("POST", path, body)


async def _read(reader: asyncio.StreamReader) -> Answer:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    if headers.get("transfer-encoding") != "chunked":
        return Answer(int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return Answer(int(status.split()[1]), headers, body)


async def keep_asking(port: int, tally: Tally, model: str, pause: float, over: Callable[[], bool], first: int) -> None:
    """Asks with ever new numbers until it is `over` or refused; each answer must hold its own number."""
    connection = Connection(port)
    for number in range(first, first + 1_000_000):
        if over():
            break
        try:
            answer = await connection.ask("POST", f"/v2/models/{model}/infer", infer_body([number]))
        except ConnectionRefusedError:
            tally.ends["refused"] += 1
            break
        except CutError as error:
            tally.ends["cut"] += 1
            tally.faults.append(repr(error))
            continue
        right = answer.status == 200 and json.loads(answer.body)["outputs"][0]["data"] == [number]
        tally.ends["right" if right else "wrong"] += 1
        if not right:
            tally.faults.append(f"{answer.status} {answer.body[:200]!r}")
        await asyncio.sleep(pause)
    connection.close()


def infer_body(data: Sequence[float]) -> bytes:
    tensor = {"name": "INPUT0", "shape": [1, len(data)], "datatype": "FP32", "data": list(data)}
    return json.dumps({"inputs": [tensor]}).encode()
