"""A Redis of the settings at the start of a real process: there, away, required, and what no installation has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import IDENTITY, ROOT, serving, write_model
from tests.redis_server import RedisServer

NOWHERE = "redis://gateway:geheim@127.0.0.1:1/0"
BODY = {"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2.5]}]}
# Hides an installed package from a process.
WITHOUT = """
import sys
sys.modules["redis"] = None
from service.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_model(tmp_path / "models", "identity", IDENTITY + "response_cache { enable: true }\n")
    return tmp_path / "models"


def _redis(**settings: object) -> tuple[str, str]:
    return "--redis", json.dumps(settings)


def _fails(folder: Path, launch: list[str], **settings: object) -> str:
    """Starts a server that must not start; the last line of what it says."""
    command = [sys.executable, *launch, "serve", "--port", "0", "--grpc-port", "0", *_redis(**settings)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHYARD_")}
    environment |= {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*command, "--model-repository", str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "geheim" not in ended.stdout + ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


def test_what_one_gateway_computes_another_finds(tmp_path: Path, repository: Path, redis_server: RedisServer) -> None:
    """And it is in Redis for a bounded time only."""
    arguments = _redis(url=redis_server.url, timeout_ms=2000)
    with serving(tmp_path, repository, *arguments) as one, serving(tmp_path, repository, *arguments) as two:
        answers = [_ask(server.port) for server in (one, one, two)]
        assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit", "hit"]
        assert len({answer.json()["outputs"][0]["data"][0] for answer in answers}) == 1
        numbers = httpx.get(f"http://127.0.0.1:{two.port}/metrics").text
        assert "batchyard_redis_up 1.0" in numbers
        assert 'batchyard_redis_commands_total{command="get"} 1.0' in numbers
    with redis_server.client() as client:
        keys = client.keys()
        assert keys
        assert all(client.pttl(key) > 0 for key in keys)  # type: ignore[union-attr]


def _ask(port: int) -> httpx.Response:
    answer = httpx.post(f"http://127.0.0.1:{port}/v2/models/identity/infer", json=BODY)
    assert answer.status_code == 200, answer.text
    return answer


def test_one_that_is_away_is_a_warning(tmp_path: Path, repository: Path) -> None:
    with serving(tmp_path, repository, *_redis(url=NOWHERE)) as server:
        assert _ask(server.port).headers["x-cache"] == "miss"
        assert "batchyard_redis_up 0.0" in httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    (told,) = [line for line in lines if line["logger"] == "batchyard.redis"]
    assert told["level"] == "warning"
    assert told["message"].startswith("redis 127.0.0.1:1 is away, all goes on without it: ")
    assert "geheim" not in str(lines)


def test_one_that_is_required_and_away_refuses_the_start(repository: Path) -> None:
    line = _fails(repository, ["-m", "service.cli"], url=NOWHERE, required=True)
    assert line.startswith("batchyard: redis.required = true wants a Redis at 127.0.0.1:1, found: ")
    assert "set redis.required = false" in line


def test_an_address_that_cannot_be_read_refuses_the_start(repository: Path) -> None:
    line = _fails(repository, ["-m", "service.cli"], url="redis://u:geheim@host:port/0")
    assert "wanted redis://host:port/database" in line


def test_without_the_extra_it_says_what_to_install(repository: Path) -> None:
    line = _fails(repository, ["-c", WITHOUT], url=NOWHERE)
    assert "pip install 'batchyard[redis]'" in line
