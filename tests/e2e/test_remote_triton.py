"""Two real Tritons behind one model and one route under load: one is killed, one stopped, both come back."""

import asyncio
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from tests.conformance.repository import write
from tests.e2e.processes import Connection, Tally, keep_asking, serving
from tests.service.remote.gateways import remote_model
from tests.triton.install import NotAvailableError
from tests.triton.server import TritonServer

CALLERS = 9
MOST = 2**24
ROUTE = json.dumps({"both": {"variants": ["identity_fp32"]}})
FLAGS = ("--model-control-mode=explicit", "--load-model=identity_fp32")
BATCHED = "max_batch_size: 8 dynamic_batching { } instance_group { count: 2 kind: KIND_CPU }\n"
_UP = re.compile(rb'batchyard_endpoint_up\{endpoint="grpc://([^"]+)",model="identity_fp32"[^}]*\} ([01])')


@pytest.fixture
def tritons(tmp_path: Path) -> Iterator[list[TritonServer]]:
    repository = tmp_path / "tritons"
    write(repository, "python", ["identity_fp32"])
    servers: list[TritonServer] = []
    try:
        servers.extend(TritonServer(repository, *FLAGS) for _ in range(2))
    except NotAvailableError as error:
        pytest.skip(str(error))
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def repository(tmp_path: Path, tritons: list[TritonServer]) -> Path:
    urls = ",".join(f"grpc://{server.grpc}" for server in tritons)
    remote_model(tmp_path / "models", "identity_fp32", urls=urls)
    remote_model(tmp_path / "models", "batched", BATCHED, urls=urls, model="identity_fp32")
    return tmp_path / "models"


@asynccontextmanager
async def under_load(port: int, tally: Tally) -> AsyncIterator[None]:
    """Callers by each name, asking again as soon as they are answered: a model, its route, and one batched here."""
    done = False
    names = ("identity_fp32", "both", "batched")
    callers = [
        asyncio.create_task(keep_asking(port, tally, names[n % 3], 0, lambda: done, n * MOST // CALLERS))
        for n in range(CALLERS)
    ]
    yield
    done = True
    await asyncio.gather(*callers)


async def is_up(port: int) -> dict[str, bool]:
    with closing(Connection(port)) as connection:
        answer = await connection.ask("GET", "/metrics")
    return {url.decode(): up == b"1" for url, up in _UP.findall(answer.body)}


async def seconds_until(port: int, server: TritonServer, up: bool) -> float:
    """Waits until the gateway asks a server, or no longer does."""
    start = time.monotonic()
    while (await is_up(port))[server.grpc] != up:
        assert time.monotonic() - start < 20, f"{server.grpc} is still {'out' if up else 'asked'}"
        await asyncio.sleep(0.02)
    return time.monotonic() - start


async def test_no_request_fails_while_one_of_two_servers_is_gone(
    tmp_path: Path, tritons: list[TritonServer], repository: Path
) -> None:
    tally, times = Tally(), {}
    first, second = tritons
    with serving(tmp_path, repository, "--routes", ROUTE) as server:
        assert await is_up(server.port) == {first.grpc: True, second.grpc: True}
        async with under_load(server.port, tally):
            await asyncio.sleep(1)
            first.process.kill()
            times["killed: ejected after"] = await seconds_until(server.port, first, False)
            await asyncio.sleep(1)
            first.stop()
            first = tritons[0] = await asyncio.to_thread(TritonServer, tmp_path / "tritons", *FLAGS, ports=first.ports)
            times["started again: re-admitted after"] = await seconds_until(server.port, first, True)
            await asyncio.sleep(1)
            second.process.send_signal(signal.SIGSTOP)
            times["stopped: ejected after"] = await seconds_until(server.port, second, False)
            await asyncio.sleep(1)
            second.process.send_signal(signal.SIGCONT)
            times["continued: re-admitted after"] = await seconds_until(server.port, second, True)
            await asyncio.sleep(1)
        log = server.log.read_text()
    print({**{name: f"{value:.2f} s" for name, value in times.items()}, **tally.ends})
    assert set(tally.ends) == {"right"}, (tally.ends, tally.faults[:5], log[-2000:])
    assert tally.ends["right"] > 500
