"""Two whole gateways, a real Redis, and callers over sockets: one limit for both, also while Redis is away."""

import asyncio
import json
from pathlib import Path

import httpx

from service.access.keys import digest_of
from tests.e2e.processes import IDENTITY, infer_body, serving, write_model
from tests.redis_server import redis_process

LIMIT, EACH = 60, 10
KEY = "by_shared"


async def test_one_limit_over_two_gateways_and_an_outage(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "identity", IDENTITY)
    limits = [{"seconds": 3600, "requests": LIMIT}]
    scopes = ["infer", "metrics"]
    tenants = json.dumps({"app": {"keys": [digest_of(KEY.encode()).hex()], "scopes": scopes, "limits": limits}})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with redis_process() as redis:
        flags = ("--tenants", tenants, "--redis", json.dumps({"url": redis.url, "timeout_ms": 500}))
        flags += ("--grpc", "false")
        with (
            serving(tmp_path / "one", tmp_path / "models", *flags) as one,
            serving(tmp_path / "two", tmp_path / "models", *flags) as two,
        ):
            ports = (one.port, two.port)
            assert await _admitted(ports, EACH) == 2 * EACH
            assert [await _used(port) for port in ports] == [2 * EACH] * 2
            redis.kill()
            assert await _admitted(ports, LIMIT) == LIMIT - 2 * EACH
            redis.start()
            async with asyncio.timeout(10):
                while not all([await _sees_redis(port) for port in ports]):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                while [await _used(port) for port in ports] != [LIMIT] * 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert await _admitted(ports, EACH) == 0


async def _admitted(ports: tuple[int, int], each: int) -> int:
    """Of so many at once at each gateway; the others must be told to come back."""
    found = await asyncio.gather(*(_ask(port) for _ in range(each) for port in ports))
    assert set(found) <= {200, 429}
    return found.count(200)


async def _ask(port: int) -> int:
    async with _client(port) as client:
        answer = await client.post("/v2/models/identity/infer", content=infer_body([1.0]))
    return answer.status_code


async def _sees_redis(port: int) -> bool:
    async with _client(port) as client:
        return "batchyard_redis_up 1.0" in (await client.get("/metrics")).text.splitlines()


async def _used(port: int) -> float:
    async with _client(port) as client:
        answer = await client.get("/v1/usage")
    used: float = answer.json()["data"][0]["windows"][0]["requests"]["used"]
    return used


def _client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"x-api-key": KEY}, timeout=30)
