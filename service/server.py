"""Runs the app under uvicorn: one process, signals end it gracefully, the last line of the start is "ready"."""

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from service.api.headers import request_id_source
from service.api.refusals import HEALTH_PATHS, refusals
from service.door.guard import Guard, House
from service.door.open_files import room_for
from service.draining import Door, DoorError, DrainingServer, Entrance, StopTimes
from service.limit_settings import LimitSettings
from service.listener import bind
from service.locked import check_locked
from service.settings import Settings, flag_of
from service.stopping import Stopping
from service.telemetry import logs
from service.telemetry.startup import ProgressHandler

LOGGER = logging.getLogger("batchyard.server")

ASGIApp = Callable[..., Any]

COLLECTOR_THRESHOLDS = (100_000, 20, 20)
"""Requests make hardly any cycles, so the garbage collector need not look for them every 700 objects."""

INTERRUPTED = 130
"""Exit code of a process that was told to leave at once."""


class CannotStartError(Exception):
    """The server cannot start; one line for the operator."""


@dataclass(frozen=True, slots=True)
class Service:
    """What is served: the app over HTTP, and over gRPC, if anything is, `grpc`. `tls`: of HTTP. `check`: raises
    `BatchyardError` where it cannot be served as the settings want it, before anything is opened."""

    app: ASGIApp
    grpc: Door | None = None
    tls: ssl.SSLContext | None = None
    check: Callable[[], Coroutine[Any, Any, None]] | None = None


def serve(settings: Settings, create_service: Callable[[Settings, Stopping], Service]) -> None:
    """Serves until SIGTERM or SIGINT, and stops as `DrainingServer` says. Raises `CannotStartError`, and what the
    service's `check` raises."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    logs.configure(settings.log_level)
    with ExitStack() as held:
        sockets = [held.enter_context(_bind(settings, "port"))]
        check_locked(settings, sockets[0].getsockname()[0])
        if settings.grpc:
            sockets.append(held.enter_context(_bind(settings, "grpc_port")))
        progress = ProgressHandler(sys.stdout)
        progress.start()
        held.callback(progress.stop)
        server = _server(settings, create_service, sockets, progress)
        try:
            with suppress(SystemExit):
                server.run(sockets[:1])
        except DoorError as error:
            raise _cannot_listen(settings, "grpc_port", str(error)) from error
        if server.force_exit:
            os._exit(INTERRUPTED)  # the threads of engines that still compute would hold up any other way out
    if not server.started:
        raise CannotStartError("the app did not start; the log lines above say why")


def _server(
    settings: Settings,
    create_service: Callable[[Settings, Stopping], Service],
    sockets: Sequence[socket.socket],
    progress: ProgressHandler,
) -> DrainingServer:
    stopping = Stopping()
    service = create_service(settings, stopping)
    if service.check:
        asyncio.run(service.check())
    times = StopTimes(settings.drain_seconds, settings.shutdown_grace_seconds)
    entrance = Entrance(_guard(settings.limits), settings.max_body_bytes, service.tls)
    doors = [(service.grpc, bound) for bound in sockets[1:] if service.grpc]
    lines = [f"grpc: {_netloc(bound)}\n" for _, bound in doors]
    url = f"{'https' if service.tls else 'http'}://{_netloc(sockets[0])}"
    lines.append(f"ready: {url} (pages: {url}/docs, numbers: {url}/metrics)\n")
    ready = partial(_announce, "".join(lines), progress)
    return DrainingServer(_uvicorn_config(service.app), entrance, times, stopping, ready, doors)


def _guard(limits: LimitSettings) -> Guard:
    """The guard of connections, which lets in as many as the system has files for."""
    room = room_for(limits.max_connections)
    if room < limits.max_connections:
        wanted = f"wanted {limits.max_connections} connections, the system has files for {room}"
        LOGGER.warning("limits.max_connections: %s; raise its bound (ulimit -Hn)", wanted)
    house = House(refusals(request_id_source()), HEALTH_PATHS)
    return Guard(limits.model_copy(update={"max_connections": room}), house)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Before the server runs: being told to stop is no failure."""
    raise SystemExit(0)


def _bind(settings: Settings, field: str) -> socket.socket:
    """The port is ours before models load. `field`: the setting that names it."""
    try:
        return bind(settings.host, getattr(settings, field))
    except OSError as error:
        raise _cannot_listen(settings, field, error.strerror or str(error)) from error


def _cannot_listen(settings: Settings, field: str, reason: str) -> CannotStartError:
    flag = flag_of(field)
    remedy = f"free it or choose others with --host and {flag} ({flag} 0 picks a free one)"
    return CannotStartError(f"cannot listen on {settings.host}:{getattr(settings, field)}: {reason}; {remedy}")


def _uvicorn_config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )


def _netloc(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _announce(lines: str, progress: ProgressHandler) -> None:
    progress.stop()
    _spare_the_collector()
    sys.stdout.write(lines)
    sys.stdout.flush()


def _spare_the_collector() -> None:
    """What is alive after the start stays alive: the collector never visits it again, so it does not pause requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
