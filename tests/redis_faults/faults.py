"""The faults, each on a real Redis, from the beginning of a block to its end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType

from redis.asyncio import Redis

from tests.redis_server import RedisServer

Fault = Callable[[RedisServer], AbstractAsyncContextManager[None]]

_NAP = 0.02
"""Seconds that a slow Redis sleeps at a time, again and again."""
_PASSWORD = "another"
_NOBODY = ("127.0.0.1", 1)
"""Where no master is."""


@asynccontextmanager
async def killed(redis: RedisServer) -> AsyncIterator[None]:
    """SIGKILL; started again, empty."""
    redis.kill()
    yield
    redis.begin()


@asynccontextmanager
async def stopped(redis: RedisServer) -> AsyncIterator[None]:
    """Told to shut down; started again, empty."""
    redis.shut_down()
    yield
    redis.begin()


@asynccontextmanager
async def paused(redis: RedisServer) -> AsyncIterator[None]:
    """SIGSTOP: connections stay open and can be made, nothing is answered."""
    redis.stop()
    yield
    redis.go_on()


@asynccontextmanager
async def wrong_password(redis: RedisServer) -> AsyncIterator[None]:
    """The password is changed and the connections are closed."""
    async with Redis(port=redis.port) as client:
        await client.config_set("requirepass", _PASSWORD)
        await client.client_kill_filter(_type="normal", skipme=True)
        yield
        await client.config_set("requirepass", "")


@asynccontextmanager
async def full(redis: RedisServer) -> AsyncIterator[None]:
    """Out of memory: it is read, but stores nothing."""
    async with Redis(port=redis.port) as client:
        await client.config_set("maxmemory", "1")
        yield
        await client.config_set("maxmemory", "0")


@asynccontextmanager
async def read_only(redis: RedisServer) -> AsyncIterator[None]:
    """A replica whose master is gone."""
    async with Redis(port=redis.port) as client:
        await client.replicaof(*_NOBODY)
        yield
        await client.replicaof("NO", "ONE")


@asynccontextmanager
async def slow(redis: RedisServer) -> AsyncIterator[None]:
    """It does nothing for 20 ms, answers what has come, and so on."""
    async with Redis(port=redis.port) as client:
        healed = asyncio.Event()

        async def nap() -> None:
            while not healed.is_set():
                await client.execute_command("DEBUG", "SLEEP", _NAP)

        napping = asyncio.create_task(nap())
        yield
        healed.set()
        await napping


@asynccontextmanager
async def restarted(redis: RedisServer) -> AsyncIterator[None]:
    """Killed and started again, empty, at once."""
    redis.kill()
    redis.begin()
    yield


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "kill": killed,
        "stop": stopped,
        "pause": paused,
        "wrong password": wrong_password,
        "OOM": full,
        "read-only": read_only,
        "slow": slow,
        "restart": restarted,
    }
)
