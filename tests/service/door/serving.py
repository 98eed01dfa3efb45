"""A door over a small ASGI application, on the test's own loop, with a clock that the test turns."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from service.api.headers import request_id_source
from service.api.refusals import HEALTH_PATHS, refusals
from service.door.connection import Connection
from service.door.guard import Guard, House
from service.limit_settings import LimitSettings

PATIENCE = 20
"""Seconds after which a test that waits for the door gives up."""


@dataclass
class App:
    """Answers each request with its method, path and body, when it is let. `sized`: of `/large`, in bytes."""

    large: int = 0
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    begun: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, path = b"", scope["path"]
        self.begun.release()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.append(path)
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.headers = scope["headers"]
        self.asked.append((scope["method"], path, body))
        if path == "/held":
            await self.hold.wait()
        answer = (
            b"x" * self.large if path == "/large" else b"%b %b %b" % (scope["method"].encode(), path.encode(), body)
        )
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@dataclass
class Served:
    """A door that serves. `now`: seconds, for `look`."""

    port: int
    app: App
    guard: Guard
    state: ServerState
    now: float = 0.0
    callers: "list[Caller]" = field(default_factory=list)

    def pass_time(self, seconds: float) -> None:
        """What the server's main loop does once a second, for each of these seconds."""
        for _ in range(round(seconds)):
            self.now += 1.0
            for connection in tuple(self.state.connections):
                assert isinstance(connection, Connection)
                connection.look(self.now)

    async def connect(self, receive_buffer: int = 0) -> "Caller":
        bare = socket.socket()
        if receive_buffer:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        bare.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(bare, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=bare)
        self.callers.append(Caller(reader, writer))
        return self.callers[-1]

    async def settled(self) -> None:
        """The door has read all that was sent to it until now: an exchange on a connection that was opened later."""
        caller = await self.connect()
        await caller.ask(b"GET /settled HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")


@dataclass
class Caller:
    """Raw bytes, both ways."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), PATIENCE)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), PATIENCE)
        return int(status.split()[1]), headers, body

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        await self.send(data)
        return await self.answer()

    async def rest(self) -> bytes:
        """All that comes until the door says that it is done; nothing where it breaks off."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE)
        except ConnectionError:
            return b""


@asynccontextmanager
async def door(limits: LimitSettings, app: App | None = None, most_body: int = 2**20) -> AsyncIterator[Served]:
    """Serves until the block ends."""
    app = app or App()
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="off")
    config.load()
    guard = Guard(limits, House(refusals(request_id_source()), HEALTH_PATHS))
    state = ServerState()
    made = partial(Connection, guard, most_body, config=config, server_state=state, app_state={})
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    served = Served(server.sockets[0].getsockname()[1], app, guard, state)
    try:
        yield served
    finally:
        server.close()
        for caller in served.callers:
            caller.writer.transport.abort()
        while state.connections or state.tasks:  # noqa: ASYNC110 - the end of a door is no event
            await asyncio.sleep(0)
