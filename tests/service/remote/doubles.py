"""Servers that answer when and how they are told, and a clock that stands still."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.calls import Question, Response
from engines.errors import EngineError, EngineUnreachableError
from engines.remote_model import Address, RemoteServers
from service.remote.asking import Asking
from service.remote.endpoint import Endpoint
from service.remote.pool import Pool


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Implements `RemoteModel`. `says`: what it answers next, an error or the outputs; "": it waits to be told.

    `probe`: what a probe comes to, None: it is well. `stream_of`: the answers of a stream. `asked`: all questions.
    """

    def __init__(self, url: str = "") -> None:
        self.url = url
        self.says: EngineError | str | None = None
        self.probe: EngineError | None = None
        self.description = ModelConfigProto(name="m", backend="identity")
        self.described: EngineError | None = None
        self.stream_of: Sequence[Response | EngineError] = ()
        self.asked: list[Question] = []
        self.closed = False
        self.told = asyncio.Event()

    async def infer(self, question: Question, seconds: float) -> Response:
        self.asked.append(question)
        if self.says == "":
            await self.told.wait()
        if isinstance(self.says, EngineError):
            raise self.says
        return Response({"OUT": np.array([float(len(self.asked))], np.float32)})

    async def stream(self, question: Question, seconds: float) -> AsyncGenerator[Response, None]:
        self.asked.append(question)
        for answer in self.stream_of:
            if isinstance(answer, EngineError):
                raise answer
            yield answer
        if self.says == "":
            await self.told.wait()

    async def ready(self, seconds: float) -> None:
        if self.probe:
            raise self.probe

    async def config(self, seconds: float) -> ModelConfigProto:
        if self.described:
            raise self.described
        return self.description

    async def close(self) -> None:
        self.closed = True


def server_of(endpoint: Endpoint) -> Server:
    assert isinstance(endpoint.remote, Server)
    return endpoint.remote


def pool_of(clock: Clock, *names: str, most: int = 100) -> tuple[Pool, list[Endpoint]]:
    """A pool of servers that are up."""
    pool = Pool("m", most, clock)
    for name in names:
        pool.endpoints[name] = Endpoint(name, Server(name), fault="")
    return pool, list(pool.endpoints.values())


def asking(clock: Clock, *names: str, most: int = 100) -> tuple[Asking, list[Endpoint]]:
    pool, endpoints = pool_of(clock, *names, most=most)
    return Asking(pool, clock), endpoints


async def settle() -> None:
    """Lets all tasks run as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


def servers_of(made: dict[str, Server], addresses: Sequence[str] = (), name: str = "") -> RemoteServers:
    """The parameters of a model at these addresses, or at those of a name; `made` is given the servers by URL."""

    def connect(address: Address) -> Server:
        return made.setdefault(str(address), Server(str(address)))

    listed = tuple(Address("grpc", False, host, 1) for host in addresses)
    named = Address("grpc", False, name, 1) if name else None
    return RemoteServers("m", listed, named, 5.0, 100, 30.0, connect)


GONE = EngineUnreachableError("connection refused")


def is_rising(values: Sequence[float]) -> bool:
    return all(first < second for first, second in pairwise(values))
