"""A started link, and what tests wait for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from service.cache_settings import RedisSettings
from service.redis_link.link import RedisLink, open_link

PATIENT = 2000
"""Milliseconds: no answer of a healthy Redis is late on a busy machine."""
BACK = 5.0
"""Seconds within which a Redis that is back must be used."""
TTL = 60.0


@asynccontextmanager
async def linked(url: str, timeout_ms: int = PATIENT, **settings: Any) -> AsyncIterator[RedisLink]:
    """A link until the end of the block."""
    link = open_link(RedisSettings(url=url, timeout_ms=timeout_ms, **settings))
    assert link is not None
    await link.start()
    try:
        yield link
    finally:
        await link.close()


async def until(condition: Callable[[], object], seconds: float = BACK) -> None:
    """Waits for what must come true; fails where it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def stored(link: RedisLink, key: bytes, value: bytes) -> None:
    """Stores a value and waits until it is there."""
    link.put(key, value, TTL)
    async with asyncio.timeout(BACK):
        while await link.get(key) != value:  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def used_again(link: RedisLink) -> None:
    """Waits until values are stored and found again, as a request would find it out."""
    async with asyncio.timeout(BACK):
        while await link.get(b"again") is None:
            link.put(b"again", b"yes", TTL)
            await asyncio.sleep(0.005)
