"""Gateways that count together in a real Redis, each with a link of its own."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from service.access.shared_ledger import SharedLedger, gateway_name
from service.access.shared_script import TEXT
from service.redis_link.link import RedisLink
from service.redis_link.script import Script
from service.tenant_settings import WindowSettings
from tests.redis_server import RedisServer
from tests.service.redis_link.linked import PATIENT, linked, until


@dataclass(frozen=True, slots=True)
class Gateway:
    """One of several, and what a tenant has used there."""

    ledger: SharedLedger
    link: RedisLink

    async def admitted(self, count: int) -> int:
        """Of so many requests, one after the other."""
        return [await self.ledger.admit() for _ in range(count)].count(None)

    async def used(self) -> list[float]:
        """Of each measure of all windows, as all gateways know it."""
        await self.ledger.refresh()
        return [round(room.used, 6) for room in self.ledger.rooms()]

    async def sees(self, up: bool) -> None:
        """Waits until Redis is away, or back."""
        await until(lambda: self.link.counts.up is up)


@asynccontextmanager
async def gateways(
    redis: RedisServer, count: int, limits: Sequence[WindowSettings], timeout_ms: int = PATIENT
) -> AsyncIterator[list[Gateway]]:
    """So many, until the end of the block."""
    async with AsyncExitStack() as opened:
        made = []
        for _ in range(count):
            link = await opened.enter_async_context(linked(redis.url, timeout_ms))
            ask = partial(link.run, Script(TEXT))
            made.append(Gateway(SharedLedger("app", limits, time.monotonic, ask, gateway_name()), link))
        yield made
