"""Runs the app under uvicorn: one process, signals end it gracefully, the last line of the start is "ready"."""

import gc
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn

from service.draining import DrainingServer, StopTimes
from service.listener import bind
from service.settings import Settings
from service.stopping import Stopping
from service.telemetry import logs
from service.telemetry.startup import ProgressHandler

ASGIApp = Callable[..., Any]

COLLECTOR_THRESHOLDS = (100_000, 20, 20)
"""Requests make hardly any cycles, so the garbage collector need not look for them every 700 objects."""

KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep idle connections in their pools, so that no client writes into a closed one."""


class CannotStartError(Exception):
    """The server cannot start; one line for the operator."""


def serve(settings: Settings, create_app: Callable[[Settings, Stopping], ASGIApp]) -> None:
    """Serves until SIGTERM or SIGINT, and stops as `DrainingServer` says. Raises `CannotStartError`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    logs.configure(settings.log_level)
    listener = _bind(settings.host, settings.port)
    progress = ProgressHandler(sys.stdout)
    progress.start()
    stopping = Stopping()
    try:
        config = _uvicorn_config(create_app(settings, stopping))
        times = StopTimes(settings.drain_seconds, settings.shutdown_grace_seconds)
        server = DrainingServer(config, times, stopping, lambda: _announce(listener, progress))
        with suppress(SystemExit):
            server.run([listener])
    finally:
        progress.stop()
        listener.close()
    if not server.started:
        raise CannotStartError("the app did not start; the log lines above say why")


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Before the server runs: being told to stop is no failure."""
    raise SystemExit(0)


def _bind(host: str, port: int) -> socket.socket:
    """The port is ours before models load."""
    try:
        return bind(host, port)
    except OSError as error:
        remedy = "free it or choose others with --host and --port (--port 0 picks a free one)"
        raise CannotStartError(f"cannot listen on {host}:{port}: {error.strerror}; {remedy}") from error


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


def _announce(listener: socket.socket, progress: ProgressHandler) -> None:
    progress.stop()
    _spare_the_collector()
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    sys.stdout.write(f"ready: {url} (pages: {url}/docs, numbers: {url}/metrics)\n")
    sys.stdout.flush()


def _spare_the_collector() -> None:
    """What is alive after the start stays alive: the collector never visits it again, so it does not pause requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
