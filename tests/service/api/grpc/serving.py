"""A gRPC server of one's own on uvloop, in a thread."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvloop

from service.api.grpc.connections import GrpcConnections
from service.api.grpc.server import GrpcServer
from service.api.limits import Limits
from service.api.manner import Manner, own_manner
from service.api.operations import Operations
from service.limit_settings import DEFAULT_LIMITS
from service.listener import bind
from tests.service.api.grpc.gateways import GrpcGateway

MAX_BODY_BYTES = 2_000_000


@dataclass(frozen=True)
class GrpcAddress:
    """`url`: as clients of Triton want it."""

    url: str
    server: GrpcServer
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs it where the server runs."""
        asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


DEFAULT_CONNECTIONS = GrpcConnections(1000, DEFAULT_LIMITS)


@contextmanager
def serve_grpc(
    gateway: GrpcGateway,
    operations: Operations | None = None,
    manner: Manner | None = None,
    connections: GrpcConnections = DEFAULT_CONNECTIONS,
) -> Iterator[GrpcAddress]:
    """Serves until the block ends."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    limits = Limits(max_body_bytes=MAX_BODY_BYTES)
    arguments = (limits, operations or Operations(), manner or own_manner(), connections)
    server = GrpcServer(gateway, *arguments)  # type: ignore[arg-type]
    bound = bind("127.0.0.1", 0)
    host, port = bound.getsockname()
    address = GrpcAddress(f"{host}:{port}", server, loop)
    try:
        address.run(server.start(bound))
        yield address
        address.run(server.stop(0))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=20)
        loop.close()
