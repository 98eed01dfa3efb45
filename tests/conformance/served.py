"""A server over conformance models: ours, or a real Triton where `BATCHYARD_CONFORMANCE_TRITON` is 1."""

import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.repository import Kind, write
from tests.triton.server import TritonServer

ROOT = Path(__file__).parents[2]
VARIABLE = "BATCHYARD_CONFORMANCE_TRITON"


@dataclass(frozen=True, slots=True)
class Served:
    """`host:port` of each protocol, as tritonclient wants them, and the folder of the models."""

    http: str
    grpc: str
    repository: Path


def serving(folder: Path, names: Collection[str] = ()) -> AbstractContextManager[Served]:
    """Writes the models of these names, all where none is given, into `folder` and serves them."""
    if os.environ.get(VARIABLE) == "1":
        return serving_triton(folder, names)
    return serving_ours(folder, names)


@contextmanager
def serving_triton(folder: Path, names: Collection[str] = ()) -> Iterator[Served]:
    """A real Triton over Python models; raises `NotAvailableError`."""
    write(folder / "models", "python", names)
    with TritonServer(folder / "models", "--model-control-mode=explicit", "--load-model=*") as server:
        yield Served(server.http, server.grpc, folder / "models")


@contextmanager
def serving_ours(folder: Path, names: Collection[str] = (), *flags: str, kind: Kind = "onnx") -> Iterator[Served]:
    """`batchyard serve` with further `flags`, in `folder`, so that no gateway.toml is found by chance."""
    write(folder / "models", kind, names)
    command = [sys.executable, "-m", "service.cli", "serve", "--model-repository", "models", "--compat", "triton"]
    command += ["--allow-control", "--port", "0", "--grpc-port", "0", "--drain-seconds", "0", *flags]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHYARD_")}
    environment["PYTHONPATH"] = str(ROOT)
    log = folder / "log.jsonl"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            urls = _urls(process)
            assert urls.keys() == {"http", "grpc"}, log.read_text()
            yield Served(urls["http"], urls["grpc"], folder / "models")
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _urls(process: "subprocess.Popen[str]") -> dict[str, str]:
    """The addresses that the server prints, up to its last line, "ready"."""
    assert process.stdout is not None
    urls: dict[str, str] = {}
    for line in process.stdout:
        if line.startswith("grpc: "):
            urls["grpc"] = line.split()[1].removeprefix("grpc://").removeprefix("http://")
        if line.startswith("ready: "):
            urls["http"] = line.split()[1].removeprefix("http://")
            break
    return urls
