"""Load at a rate that does not wait for answers: Poisson arrivals, latency from the intended start.

A closed loop slows down with the server and so hides what overload does to callers ("coordinated omission",
G. Tene, "How NOT to Measure Latency", 2013).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from random import Random

import uvloop

from benchmarks.wire import Connection, Exchange, connect

CONNECTIONS = 256
"""Open before the load starts. At 100 ms each they carry 2,560 requests a second; refusals take far less."""
_LAST_ANSWERS = 5.0
"""Seconds for answers to come in after the last request."""
_AHEAD = 0.0005
"""Seconds by which a request may be sent early: timers are no finer."""

Request = Callable[[int], bytes]
"""The bytes of the request with this number."""


def open_loop(url: str, request: Request, rate: float, seconds: float, seed: int) -> list[Exchange]:
    """Sends `rate` requests a second for `seconds`, whatever comes back; all exchanges, in order of their start."""
    times = list(arrivals(rate, seconds, seed))
    return uvloop.run(_Load(url, CONNECTIONS).at(times, request))


def closed_loop(url: str, requests: Sequence[bytes], connections: int, seconds: float) -> list[Exchange]:
    """Keeps `connections` requests under way for `seconds`, cycling through `requests`."""
    return uvloop.run(_Load(url, connections).busy(requests, seconds))


def replay(url: str, requests: Iterable[bytes], connections: int, seconds: float) -> list[Exchange]:
    """Sends each of `requests` once, `connections` at a time; what is not done after `seconds` is left out."""
    return uvloop.run(_Load(url, connections).each(requests, seconds))


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Times of a Poisson process from 0 on."""
    random = Random(seed)  # noqa: S311
    now = random.expovariate(rate)
    while now < seconds:
        yield now
        now += random.expovariate(rate)


class _Load:
    """Connections to one server. `_waiting`: requests that found none free; `_more`: where others come from."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self._count = connections
        self._free: list[Connection] = []
        self._waiting: deque[Exchange] = deque()
        self._more: Callable[[], Exchange | None] = lambda: None
        self._under_way = 0
        self._idle = asyncio.Event()

    async def at(self, times: Sequence[float], request: Request) -> list[Exchange]:
        await self._connect()
        loop = asyncio.get_running_loop()
        start = loop.time()
        exchanges: list[Exchange] = []
        for number, offset in enumerate(times):
            ahead = start + offset - loop.time()
            if ahead > _AHEAD:
                await asyncio.sleep(ahead)
            exchanges.append(Exchange(request(number), start + offset))
            self._send(exchanges[-1])
        await self._finish()
        return exchanges

    async def busy(self, requests: Sequence[bytes], seconds: float) -> list[Exchange]:
        await self._connect()
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        exchanges: list[Exchange] = []
        bodies = cycle(requests)

        def more() -> Exchange | None:
            if loop.time() >= ends:
                return None
            exchanges.append(Exchange(next(bodies), loop.time()))
            return exchanges[-1]

        self._more = more
        for _ in range(self._count):
            self._next()
        await asyncio.sleep(seconds)
        await self._finish()
        return exchanges

    async def each(self, requests: Iterable[bytes], seconds: float) -> list[Exchange]:
        await self._connect()
        loop = asyncio.get_running_loop()
        exchanges: list[Exchange] = []
        left = iter(requests)

        def more() -> Exchange | None:
            request = next(left, None)
            if request is None:
                return None
            exchanges.append(Exchange(request, loop.time()))
            return exchanges[-1]

        self._more = more
        for _ in range(self._count):
            self._next()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        await self._finish()
        return exchanges

    async def _connect(self) -> None:
        self._free = [await connect(self._url, self._freed) for _ in range(self._count)]

    def _send(self, exchange: Exchange) -> None:
        if not self._free:
            self._waiting.append(exchange)
            return
        self._under_way += 1
        self._idle.clear()
        self._free.pop().send(exchange)

    def _freed(self, connection: Connection) -> None:
        self._under_way -= 1
        if not connection.gone:
            self._free.append(connection)
            self._next()
        if not self._under_way:
            self._idle.set()

    def _next(self) -> None:
        exchange = self._waiting.popleft() if self._waiting else self._more()
        if exchange is not None:
            self._send(exchange)

    async def _finish(self) -> None:
        if self._under_way:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), _LAST_ANSWERS)
        for connection in self._free:
            connection.close()
