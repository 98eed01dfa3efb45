"""Connections to one server, each with one request at a time.

httpx's own pool is not used: it loses a connection for ever where a request is given up at the wrong moment, such as
between two of the steps that open it. Here a connection is closed whole, unless its response came to its end.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import httpx

KEEP_ALIVE = 4.0
"""Seconds: less than the 5 after which uvicorn and llama.cpp close an idle connection, perhaps as we write into it."""


@dataclass(slots=True, eq=False)
class Lane:
    """A transport with one connection at most. `used`: it answered a request before; `idle`: since when, seconds."""

    transport: httpx.AsyncHTTPTransport
    used: bool = False
    idle: float = 0.0


class Lanes:
    """At most `most` connections, of which those that are idle are used again, the latest first."""

    def __init__(self, make: Callable[[], httpx.AsyncHTTPTransport], most: int) -> None:
        self.closed = False
        self._make = make
        self._most = most
        self._taken: set[Lane] = set()
        self._places = 0
        self._idle: list[Lane] = []
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> Lane:
        """Waits for a place. It is to be given back by `give` or `drop`, even if the taker is cancelled."""
        if self._places < self._most:
            self._places += 1
        else:
            await self._turn()
        lane = self._idle.pop() if self._idle else Lane(self._make())
        self._taken.add(lane)
        return lane

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._free()
            raise

    def renew(self, lane: Lane) -> Lane:
        """A new connection in place of one that turned out to be gone, which is left to the caller to close."""
        fresh = Lane(self._make())
        self._taken.add(fresh)
        self._taken.remove(lane)
        return fresh

    async def give(self, lane: Lane) -> None:
        """Gives a connection back that can be used again."""
        lane.used, lane.idle = True, asyncio.get_running_loop().time()
        self._taken.remove(lane)
        old = [other for other in self._idle if lane.idle - other.idle > KEEP_ALIVE]
        self._idle = [other for other in self._idle if other not in old]
        if self.closed:
            old.append(lane)
        else:
            self._idle.append(lane)
        self._free()
        for other in old:
            await other.transport.aclose()

    async def drop(self, lane: Lane) -> None:
        """Closes a connection."""
        self._taken.remove(lane)
        try:
            await lane.transport.aclose()
        finally:
            self._free()

    async def close(self) -> None:
        """Closes all connections, those in use too."""
        self.closed = True
        idle, self._idle = self._idle, []
        for lane in (*idle, *self._taken):
            await lane.transport.aclose()

    def _free(self) -> None:
        """A place is free: for whoever waits longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._places -= 1
