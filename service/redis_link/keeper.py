"""Has connections to Redis at hand, whatever it does: opens them, tries them, lets them go and opens them anew."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from service.redis_link.counts import Counts
from service.redis_link.health import Health
from service.redis_link.line import Line, LineError, Refusal
from service.redis_link.wire import Bounds, Wire

Dial = Callable[[], Awaitable[Line]]
"""Opens a connection; raises `LineError`."""

OPENING = 2.0
"""Seconds for a try to reach it, all told."""
TRIES = 3
"""Answers to look at before it counts as too slow: this process may have been busy itself."""
SILENT = 3
"""Turns of the event loop in a row whose questions had no answer in time, after which it is asked no more."""
SILENT_FOR = 2
"""Times that they may take, for which it must last: one pause of Redis or of this process ends many turns at once."""
MOST = 4096
"""Commands under way on a connection."""
MOST_BYTES = 32 << 20
"""Of the commands under way on a connection."""
TOLD_SECONDS = 2.0
"""For an answer that nobody waits for; then the connection is taken for dead."""


class Keeper:
    """Questions have one connection and what is told another, so that no answer waits behind a large value.

    `timeout`: seconds for an answer. `key`: any, to try it with. `asking`, `telling`: None or dead while it is away.
    """

    def __init__(self, dial: Dial, name: str, timeout: float, key: bytes, counts: Counts) -> None:
        self.health = Health(name, counts, time.monotonic)
        self.asking: Wire | None = None
        self.telling: Wire | None = None
        self._dial = dial
        self._timeout = timeout
        self._key = key
        self._counts = counts
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Goes to work; waits for what comes of the first try."""
        tried = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep(tried))
        await tried.wait()

    async def close(self) -> None:
        """Lets go of it."""
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
            self._keeping = None

    async def fault(self) -> str:
        """Why it cannot be reached; "" if it can. Leaves nothing open."""
        try:
            async with asyncio.timeout(OPENING):
                lines = await self._open()
        except Exception as error:
            return _told(error)
        for line in lines:
            await line.close()
        return ""

    async def _keep(self, tried: asyncio.Event) -> None:
        while True:
            try:
                async with asyncio.timeout(OPENING):
                    lines = await self._open()
            except Exception as error:
                fault = _told(error)
            else:
                self.health.opened()
                fault = await self._work(lines, tried)
            pause = self.health.lost(fault)
            tried.set()
            await asyncio.sleep(pause)

    async def _open(self) -> tuple[Line, Line]:
        """Two connections, the first of them tried; raises `LineError`."""
        asking = await self._dial()
        try:
            await self._try(asking)
            return asking, await self._dial()
        except BaseException:
            await asking.close()
            raise

    async def _try(self, line: Line) -> None:
        for _ in range(TRIES):
            start = time.monotonic()
            await line.send([(b"GET", self._key)])
            reply = await line.read()
            seconds = time.monotonic() - start
            if isinstance(reply, Refusal):
                raise LineError(reply.text)
            if seconds <= self._timeout:
                return
        raise LineError(f"it answers in {seconds * 1000:.0f} ms, wanted {self._timeout * 1000:g} ms at most")

    async def _work(self, lines: tuple[Line, Line], working: asyncio.Event) -> str:
        """Works on both until one is lost; says why."""
        asking, telling = lines
        patient = Bounds(self._timeout, SILENT, SILENT_FOR * self._timeout, MOST, MOST_BYTES)
        self.asking = Wire(asking, patient, self._counts, self.health)
        self.telling = Wire(telling, Bounds(TOLD_SECONDS, 1, 0.0, MOST, MOST_BYTES), self._counts, self.health)
        tasks = [asyncio.create_task(wire.run()) for wire in (self.asking, self.telling)]
        working.set()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.asking = self.telling = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return _told(next(iter(done)).exception())


def _told(error: BaseException | None) -> str:
    if isinstance(error, TimeoutError):
        return f"it was not reached within {OPENING:g} s"
    return str(error) if isinstance(error, LineError) else f"{type(error).__name__}: {error}"
