"""Watches the servers of one model: asks each again and again whether it is ready."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from engines.errors import EngineError, EngineTimeoutError, ModelLoadError
from service.remote.endpoint import Endpoint
from service.remote.pool import Pool

LOGGER = logging.getLogger("batchyard.remote")

EVERY = 1.0
"""Seconds between two probes."""
TIMEOUT = 0.7
"""Seconds that a probe may take."""
LOST = 2
"""Probes without an answer in a row after which a server hangs: 2.4 s after it began to, at the latest."""
TICK = 0.25
"""Seconds between two looks at whether an answer is overdue."""
OVERDUE = 3.0
"""Times the p95 of its answers in which a server that has requests gave no sign of life: it is probed at once."""

Agree = Callable[[Endpoint], Awaitable[None]]
"""Checks before a server is asked, or asked again, that its model is the one that is served here; raises
`EngineError`."""


class Prober:
    """Used on the event loop."""

    def __init__(self, pool: Pool, agree: Agree, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._agree = agree
        self._clock = clock

    async def watch(self, endpoint: Endpoint) -> None:
        """Probes until it is cancelled."""
        while True:
            endpoint.wake.clear()
            await self.probe(endpoint)
            if not endpoint.lost_probes or endpoint.fault:
                await self._pause(endpoint)

    async def _pause(self, endpoint: Endpoint) -> None:
        """Until the next probe."""
        for _ in range(round(EVERY / TICK)):
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await endpoint.wake.wait()
            if endpoint.wake.is_set() or self.overdue(endpoint):
                return

    def overdue(self, endpoint: Endpoint) -> bool:
        """Should it long have answered something? It is then probed sooner than it would be."""
        if endpoint.fault or not endpoint.in_flight:
            return False
        patience = max(TICK, OVERDUE * endpoint.latency.p95(endpoint.in_flight))
        return self._clock() - endpoint.heard > patience

    async def probe(self, endpoint: Endpoint) -> None:
        """Asks once. A server that says no, or that nobody listens for, is out at once; one that is silent is out
        where it was silent before, and gave no answer to anybody meanwhile."""
        start = self._clock()
        try:
            await endpoint.remote.ready(TIMEOUT)
            if endpoint.fault:
                await self._agree(endpoint)
        except EngineTimeoutError:
            self._silent(endpoint, start)
        except (EngineError, ModelLoadError) as error:
            endpoint.lost_probes = 0
            self._pool.eject(endpoint, str(error))
        except Exception as error:
            LOGGER.exception("probing %s failed", endpoint.url)
            self._pool.eject(endpoint, f"probing it failed: {type(error).__name__}: {error}")
        else:
            self._pool.readmit(endpoint)

    def _silent(self, endpoint: Endpoint, start: float) -> None:
        if endpoint.heard >= start:
            endpoint.lost_probes = 0
            return
        endpoint.lost_probes += 1
        if endpoint.lost_probes >= LOST:
            self._pool.eject(endpoint, f"it hangs: {endpoint.lost_probes} probes had no answer within {TIMEOUT} s each")
            self._pool.cut(endpoint)
