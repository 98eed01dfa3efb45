"""`python -m tests.chaos.served FILE serve ...`: `batchyard serve ...`, whose last numbers are in FILE once it ended.

/metrics is gone with the server, so what it counted while it drained could not be read from outside. It is told to stop
where its standard input ends, which is when the one who started it is gone.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from threading import Thread

import httpx

from service import app, cli
from service.server import ASGIApp, Service
from service.settings import Settings
from service.stopping import Stopping


def main() -> None:
    """Serves, then writes what /metrics would say."""
    file, *arguments = sys.argv[1:]
    made: list[ASGIApp] = []
    create = app.create_service

    def remember(settings: Settings, stopping: Stopping) -> Service:
        service = create(settings, stopping)
        made.append(service.app)
        return service

    app.create_service = remember
    Thread(target=_stop_with_parent, daemon=True).start()
    try:
        cli.main(arguments)
    finally:
        if made:
            Path(file).write_text(asyncio.run(_numbers(made[0])), "utf-8")


def _stop_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


async def _numbers(served: ASGIApp) -> str:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://served") as client:
        return (await client.get("/metrics")).text


if __name__ == "__main__":
    main()
