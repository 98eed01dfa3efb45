"""uvicorn's server, made to stop without losing a request that a caller has sent."""

import asyncio
import logging
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Protocol

import uvicorn

from service.door.connection import Connection
from service.door.guard import Guard
from service.listener import give_up_after, somebody_waits, take_no_more
from service.stopping import Stopping

LOGGER = logging.getLogger("batchyard.server")

_STARTUP_FAILED = 3
"""uvicorn's exit code."""
_TICKS_A_SECOND = 10
"""Of uvicorn's main loop."""
_CLOSE = (b"connection", b"close")
_STEP = 0.02
"""Seconds between looks at what is left to do."""
_SETTLE = 0.1
"""Seconds in which connections that are being made reach the listening socket."""
_QUIET = 0.5
"""Seconds without any request after which connections that stay open are taken for idle. What is on its way over the
network, or written by a caller that just got an answer, is there by then."""
_LAST_WORDS = 1.0
"""Seconds in which requests that ran out of time are told so."""


@dataclass(frozen=True, slots=True)
class StopTimes:
    """Seconds. `drain`: from SIGTERM until no more connections are taken; `grace`: from then, for work in hand."""

    drain: float
    grace: float


@dataclass(frozen=True, slots=True)
class Entrance:
    """How HTTP connections come in. `most_body`: bytes. `tls`: None for plain connections."""

    guard: Guard
    most_body: int
    tls: ssl.SSLContext | None


class DoorError(Exception):
    """Another server could not be opened; says why."""


class Door(Protocol):
    """The server of another protocol, which starts and stops with uvicorn's."""

    async def start(self, bound: socket.socket) -> None:
        """Takes calls from now on, in place of a bound socket, which it closes. Raises `OSError` where it cannot."""

    async def stop(self, grace: float) -> None:
        """Refuses new calls and answers those in hand, for at most `grace` seconds; then it tells the rest so."""


class DrainingServer(uvicorn.Server):
    """Stops in phases, each of which loses nothing:

    1. SIGTERM: `stopping` is set, so that load balancers look elsewhere. All is answered as before, but each answer
       says `connection: close`, so that callers move on.
    2. After the drain period, or a second SIGTERM, or SIGINT: no more connections.
    3. What was accepted is answered. At the end of the grace period the rest is told that the time is over.
    4. Idle connections are closed, then the app shuts down. A second SIGINT leaves at once.

    Only public names of uvicorn are used; its own shutdown closes idle connections first, and what is on its way on
    them is lost. `ready` is called once the app has started and the socket accepts connections. `doors`: other servers,
    each with the socket that is bound for it; they are opened after the app, and closed in phases 2 and 3.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        entrance: Entrance,
        times: StopTimes,
        stopping: Stopping,
        ready: Callable[[], None],
        doors: Sequence[tuple[Door, socket.socket]] = (),
    ) -> None:
        super().__init__(config)
        self._entrance = entrance
        self._times = times
        self._stopping = stopping
        self._ready = ready
        self._doors = doors
        self._drained_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the app, the sockets and the doors; raises `DoorError`."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(_STARTUP_FAILED)
        await self._open(sockets or [])
        if self.should_exit:
            return
        try:
            for door, bound in self._doors:
                await door.start(bound)
        except OSError as error:
            await self.lifespan.shutdown()
            raise DoorError(error.strerror or str(error)) from error
        self._ready()

    async def _open(self, sockets: Sequence[socket.socket]) -> None:
        """In place of uvicorn's: it gives a TLS handshake a minute, in which nothing is known of the connection yet."""
        entrance = self._entrance
        made = partial(Connection, entrance.guard, entrance.most_body)
        connection = partial(made, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        handshake = entrance.guard.limits.head_seconds if entrance.tls else None
        for bound in sockets:
            give_up_after(bound, entrance.guard.limits.write_seconds)
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                connection, sock=bound, ssl=entrance.tls, ssl_handshake_timeout=handshake, backlog=self.config.backlog
            )
            for bound in sockets
        ]
        self.started = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does. Logging is left to the event loop: a signal may come in the middle of another line."""
        if not self.started:
            self.should_exit = True
            return
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = self.should_exit or self._stopping.begun or sig == signal.SIGINT
        self._stopping.begun = True
        self._say_close()

    def _say_close(self) -> None:
        """Every answer from now on, those of requests in hand too, tells its caller to use another connection."""
        for headers in (self.config.encoded_headers, self.server_state.default_headers):
            if _CLOSE not in headers:
                headers.append(_CLOSE)

    async def on_tick(self, counter: int) -> bool:
        """Is it time to close the listener? Asked ten times a second."""
        over = await super().on_tick(counter)
        self._look_at_connections(counter % _TICKS_A_SECOND)
        if self._stopping.begun and not self._drained_at:
            self._drained_at = time.monotonic() + self._times.drain
            LOGGER.info("told to stop: not ready any more, connections are taken for %g s yet", self._times.drain)
        if self._stopping.begun:
            self._say_close()
        return over or bool(self._drained_at and time.monotonic() >= self._drained_at)

    def _look_at_connections(self, turn: int) -> None:
        """At those whose turn it is, by their place in memory: all of thousands at once would keep requests waiting."""
        now = time.monotonic()
        for connection in tuple(self.server_state.connections):
            if (id(connection) >> 8) % _TICKS_A_SECOND == turn and isinstance(connection, Connection):
                connection.look(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Phases 2 to 4."""
        self._stopping.begun = True
        self._say_close()
        end = time.monotonic() + self._times.grace
        doors = asyncio.gather(*(door.stop(self._times.grace) for door, _ in self._doors), return_exceptions=True)
        await self._stop_accepting(sockets or [], end)
        await self._answer_what_is_in_hand(end)
        await self._end_the_rest()
        await self._closed(doors)
        if not self.force_exit:
            LOGGER.info("all connections are closed: the models shut down")
            await self.lifespan.shutdown()
        LOGGER.info("stopped")

    async def _closed(self, doors: "asyncio.Future[list[BaseException | None]]") -> None:
        while not doors.done() and not self.force_exit:
            await asyncio.wait({doors}, timeout=_STEP)
        if not doors.done():
            doors.cancel()
            return
        for error in doors.result():
            if error is not None:
                LOGGER.error("closing a server failed", exc_info=error)

    async def _stop_accepting(self, sockets: list[socket.socket], end: float) -> None:
        """uvloop accepts one connection in each of its turns, which may be long: until none waits."""
        for listener in sockets:
            take_no_more(listener)
        await asyncio.sleep(_SETTLE)
        while any(map(somebody_waits, sockets)) and not self.force_exit and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()
        work = len(self.server_state.tasks)
        LOGGER.info("no more connections: %d requests in hand get at most %g s", work, self._times.grace)

    async def _answer_what_is_in_hand(self, end: float) -> None:
        busy_at = time.monotonic()
        while self.server_state.connections and not self.force_exit and (now := time.monotonic()) < end:
            if self.server_state.tasks:
                busy_at = now
            elif now >= busy_at + _QUIET:
                return
            await asyncio.sleep(_STEP)

    async def _end_the_rest(self) -> None:
        late = list(self.server_state.tasks)
        if late:
            LOGGER.warning("the grace period is over: %d requests are told so", len(late))
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_LAST_WORDS)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(round(_LAST_WORDS / _STEP)):
            if self.force_exit or not self.server_state.connections:
                return
            await asyncio.sleep(_STEP)
