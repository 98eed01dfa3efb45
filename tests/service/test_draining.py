"""The server's own start and stop, in this process; `tests/e2e/test_draining.py` has those of a real one."""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service import draining
from service.api.headers import request_id_source
from service.api.refusals import HEALTH_PATHS, refusals
from service.door.connection import Connection
from service.door.guard import Guard, House
from service.draining import DrainingServer, Entrance, StopTimes
from service.limit_settings import DEFAULT_LIMITS
from service.listener import bind
from service.stopping import Stopping
from tests.service.door.serving import door

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class App:
    """`on_start`: what happens while it starts. `seconds`: that each request keeps the event loop. `ended`: it was shut
    down."""

    def __init__(self, on_start: Callable[[], None], seconds: float = 0.0) -> None:
        self.on_start = on_start
        self.seconds = seconds
        self.ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self.on_start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.ended = True
            await send({"type": "lifespan.shutdown.complete"})
            return
        time.sleep(self.seconds)  # noqa: ASYNC251
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def server_of(app: App, ready: Callable[[], None] = lambda: None) -> DrainingServer:
    guard = Guard(DEFAULT_LIMITS, House(refusals(request_id_source()), HEALTH_PATHS))
    config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", lifespan="on", log_config=None)
    return DrainingServer(config, Entrance(guard, 2**20, None), StopTimes(0, 5), Stopping(), ready)


def test_all_that_wait_to_be_accepted_are_answered_by_a_busy_process(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = bind("127.0.0.1", 0)
    callers = [socket.socket() for _ in range(100)]
    take_no_more = draining.take_no_more

    def late(closing: socket.socket) -> None:
        """These come last: the loop has not accepted any of them yet."""
        for caller in callers:
            caller.connect(closing.getsockname())
            caller.sendall(REQUEST)
        take_no_more(closing)

    monkeypatch.setattr(draining, "take_no_more", late)
    app = App(on_start=tell_to_stop, seconds=0.005)
    server_of(app).run([listener])
    answers = Counter(answer(caller) for caller in callers)
    assert answers == {b"HTTP/1.1 200 OK": len(callers)}


def test_who_is_told_to_stop_while_starting_is_never_ready() -> None:
    said: list[str] = []
    app = App(on_start=tell_to_stop)
    server_of(app, lambda: said.append("ready")).run([bind("127.0.0.1", 0)])
    assert not said
    assert app.ended


async def test_connections_are_looked_at_once_a_second_and_not_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: Counter[Connection] = Counter()
    monkeypatch.setattr(Connection, "look", lambda self, _: looks.update([self]))
    async with door(DEFAULT_LIMITS) as served:
        for _ in range(60):
            await served.connect()
        await served.settled()
        server = server_of(App(on_start=lambda: None))
        server.server_state = served.state
        held = set(served.state.connections)
        await server.on_tick(0)
        assert len(looks) < len(held) / 2
        for counter in range(1, 20):
            await server.on_tick(counter)
        assert {connection: looks[connection] for connection in held} == dict.fromkeys(held, 2)


def tell_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def answer(caller: socket.socket) -> bytes:
    """Its first line; nothing where the connection was cut."""
    with caller:
        try:
            return caller.recv(1000).partition(b"\r\n")[0]
        except ConnectionError:
            return b""
