"""A real server with the shipped models, for tests that go over sockets."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.redis_server import RedisServer, redis_process
from tests.upstream import Upstream, upstream_process

ROOT = Path(__file__).parent.parent
BANKING77 = ROOT.parent / "shared" / "data" / "banking77"


def _built(name: str) -> bool:
    return any((ROOT / "model_repository" / name).glob("[0-9]*/*"))


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Base URL of `batchyard serve` over the shipped repository; skips where the models are not built."""
    if not _built("minilm_onnx"):
        pytest.skip("the shipped models are not built: run `batchyard build`")
    with serving("--config", "gateway.toml") as url:
        yield url


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """Base URL of a `batchyard serve` of one's own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHYARD_")}
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0", "--grpc-port", "0", "--drain-seconds", "0"]
    command += arguments
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _url(process)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def _url(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        if line.startswith("ready: "):
            return line.split()[1]
        lines.append(line)
    raise AssertionError(f"the server did not start: {''.join(lines)}")


@pytest.fixture(scope="session")
def banking77() -> Path:
    """The folder with Banking77's train.csv and dev.csv; skips where the data is not there."""
    if not BANKING77.is_dir():
        pytest.skip("Banking77 is not there: ../shared/data/banking77")
    return BANKING77


@pytest.fixture(scope="module")
def upstream_server() -> Iterator[Upstream]:
    """Another server with OpenAI's API, good and bad as it is told, in a process of its own."""
    with upstream_process() as made:
        yield made


@pytest.fixture
async def upstream(upstream_server: Upstream) -> Upstream:
    """The same, with nothing left of the test before."""
    await upstream_server.reset()
    return upstream_server


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of one's own, empty; skips where none is installed."""
    with redis_process() as made:
        yield made
