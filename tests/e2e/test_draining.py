"""SIGTERM under load: whatever was accepted is answered."""

import asyncio
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.processes import (
    IDENTITY,
    ROOT,
    Connection,
    CutError,
    Server,
    Tally,
    ask_once,
    infer_body,
    keep_asking,
    parameter,
    serving,
    write_model,
)

PAUSES = (*[0.0] * 16, 0.001, 0.01, 0.05, 0.11, 0.23, 0.31)
"""Seconds between the requests of each caller. Many come without a pause: they connect anew for each request while the
server drains, so that some always wait in the listening socket when it closes."""
MOST = 2**24
"""Whole numbers below are exact in FP32."""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    write_model(root, "identity", IDENTITY)
    write_model(root, "slow", IDENTITY + parameter("identity.delay_ms", 700))
    write_model(root, "apart", IDENTITY + parameter("isolation", "process"))
    echo = (ROOT / "model_repository" / "echo" / "config.pbtxt").read_text()
    write_model(root, "echo", echo + parameter("echo.step_ms", 30))
    shutil.copytree(ROOT / "model_repository" / "echo" / "1", root / "echo" / "1", dirs_exist_ok=True)
    return root


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def log_of(server: Server) -> list[str]:
    return [json.loads(line)["message"] for line in server.log.read_text().splitlines()]


async def logged(server: Server, words: str) -> None:
    """Waits until the log has them."""
    for _ in range(1000):
        if words in server.log.read_text():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{words!r} is not in the log: {server.log.read_text()}")


async def ended(server: Server, seconds: float) -> int:
    return await asyncio.to_thread(server.process.wait, seconds)


@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,), (signal.SIGTERM, signal.SIGINT)],
    ids=lambda numbers: "-".join(number.name for number in numbers),
)
async def test_nothing_that_was_accepted_is_lost(
    tmp_path: Path, repository: Path, numbers: tuple[signal.Signals, ...]
) -> None:
    tally = Tally()
    with serving(tmp_path, repository, "--drain-seconds", "1", "--log-level", "info") as server:
        children = server.children()
        assert children
        models = ("identity", "apart")
        callers = [
            keep_asking(server.port, tally, models[n % 2], pause, lambda: False, n * MOST // len(PAUSES))
            for n, pause in enumerate(PAUSES)
        ]
        slow = ask_once(server.port, "/v2/models/slow/infer", infer_body([1]))
        work = asyncio.gather(*callers, slow)
        await asyncio.sleep(0.5)
        for number in numbers:
            server.tell(number)
            await asyncio.sleep(0.2)
        *_, late = await asyncio.wait_for(work, 20)
        assert await ended(server, 20) == 0
    assert late.status == 200
    assert set(tally.ends) == {"right", "refused"}, tally
    assert tally.ends["refused"] == len(PAUSES)
    assert all(gone(pid) for pid in children)
    assert log_of(server)[-1] == "stopped"


async def test_the_server_is_not_ready_at_once_and_sends_callers_away(tmp_path: Path, repository: Path) -> None:
    with serving(tmp_path, repository, "--drain-seconds", "60") as server:
        kept = Connection(server.port)
        before = await kept.ask("GET", "/v2/health/ready")
        assert (before.status, "connection" in before.headers) == (200, False)
        server.tell(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while (answer := await kept.ask("GET", "/v2/health/ready")).status == 200 and time.monotonic() < deadline:
            pass
        assert answer.status == 400
        for path, status in (("/v2/health/live", 200), ("/v2/models/identity/ready", 400), ("/metrics", 200)):
            answer = await kept.ask("GET", path)
            assert (answer.status, answer.headers["connection"]) == (status, "close")
        answer = await kept.ask("POST", "/v2/models/identity/infer", infer_body([5]))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        server.tell(signal.SIGTERM)
        assert await ended(server, 20) == 0


async def test_a_connection_without_a_request_keeps_nobody_waiting(tmp_path: Path, repository: Path) -> None:
    with serving(tmp_path, repository, "--drain-seconds", "0", "--shutdown-grace-seconds", "60") as server:
        idle = Connection(server.port)
        await idle.ask("GET", "/v2/health/live")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        server.tell(signal.SIGTERM)
        assert await ended(server, 30) == 0
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(CutError):
            await idle.ask("GET", "/v2/health/live")


async def test_a_request_on_a_connection_that_was_only_opened_is_answered(tmp_path: Path, repository: Path) -> None:
    """It is sent after the listening socket closed."""
    with serving(tmp_path, repository, "--drain-seconds", "0") as server:
        opened = Connection(server.port)
        await opened.ask("GET", "/v2/health/live")
        busy = asyncio.create_task(ask_once(server.port, "/v2/models/slow/infer", infer_body([1])))
        await asyncio.sleep(0.1)
        server.tell(signal.SIGTERM)
        await logged(server, "no more connections")
        answer = await opened.ask("POST", "/v2/models/identity/infer", infer_body([7]))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert (await busy).status == 200
        assert await ended(server, 20) == 0


@pytest.mark.parametrize(("words", "whole"), [(20, True), (400, False)])
async def test_a_stream_is_finished_or_told_that_the_time_is_over(
    tmp_path: Path, repository: Path, words: int, whole: bool
) -> None:
    body = json.dumps({"text_input": "one " * words, "max_tokens": words, "ignore_eos": True}).encode()
    with serving(tmp_path, repository, "--drain-seconds", "0", "--shutdown-grace-seconds", "2") as server:
        stream = asyncio.create_task(ask_once(server.port, "/v2/models/echo/generate_stream", body))
        await asyncio.sleep(0.3)
        server.tell(signal.SIGTERM)
        answer = await asyncio.wait_for(stream, 20)
        assert await ended(server, 20) == 0
    events = answer.body.decode().strip().split("\n\n")
    if whole:
        assert events[-1].startswith(": queue_ms=")
    else:
        assert "the server is stopping" in json.loads(events[-1].removeprefix("data: "))["error"]
