"""Runs the app under uvicorn: one process, signals end it gracefully, the last line of the start is "ready"."""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from service.draining import Door, DoorError, DrainingServer, StopTimes
from service.listener import bind
from service.settings import Settings, flag_of
from service.stopping import Stopping
from service.telemetry import logs
from service.telemetry.startup import ProgressHandler

ASGIApp = Callable[..., Any]

COLLECTOR_THRESHOLDS = (100_000, 20, 20)
"""Requests make hardly any cycles, so the garbage collector need not look for them every 700 objects."""

KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep idle connections in their pools, so that no client writes into a closed one."""


INTERRUPTED = 130
"""Exit code of a process that was told to leave at once."""


class CannotStartError(Exception):
    """The server cannot start; one line for the operator."""


@dataclass(frozen=True, slots=True)
class Service:
    """What is served: the app over HTTP, and over gRPC, if anything is, `grpc`."""

    app: ASGIApp
    grpc: Door | None = None


def serve(settings: Settings, create_service: Callable[[Settings, Stopping], Service]) -> None:
    """Serves until SIGTERM or SIGINT, and stops as `DrainingServer` says. Raises `CannotStartError`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    logs.configure(settings.log_level)
    with ExitStack() as held:
        sockets = [held.enter_context(_bind(settings, "port"))]
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
    times = StopTimes(settings.drain_seconds, settings.shutdown_grace_seconds)
    doors = [(service.grpc, bound) for bound in sockets[1:] if service.grpc]
    lines = [f"grpc: {_netloc(bound)}\n" for _, bound in doors]
    url = f"http://{_netloc(sockets[0])}"
    lines.append(f"ready: {url} (pages: {url}/docs, numbers: {url}/metrics)\n")
    ready = partial(_announce, "".join(lines), progress)
    return DrainingServer(_uvicorn_config(service.app), times, stopping, ready, doors)


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
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
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
