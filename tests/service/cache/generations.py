"""Cached generations over the echo model: what was asked of it is counted, and what is kept is in a table."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from service.cache.call_words import words_of
from service.cache.transcript import Transcript
from service.cached_generations import CachedGenerations
from service.generating import GenerateRequest, Generation
from service.generation.replica import GeneratorReplica
from service.routing.errand import Asked
from service.types import DIRECT, Cached, Hints, Routed
from tests.service.generation.echoes import asking, echoing


class Table:
    """Keeps everything for good."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.age = 7.0

    async def get(self, key: bytes) -> tuple[bytes, float] | None:
        value = self.values.get(key)
        return (value, self.age) if value is not None else None

    def put(self, key: bytes, value: bytes, seconds: float) -> None:
        assert seconds >= 0
        self.values[key] = value


class NoNeighbours:
    async def find(self, request: GenerateRequest, key: bytes) -> tuple[Transcript, Cached] | None:
        return None

    def keep(self, request: GenerateRequest, key: bytes, value: bytes) -> None:
        pass


class World:
    """`open`: generations of the model that run. `routed`: how the model's answers say that they were routed."""

    def __init__(self, replica: GeneratorReplica, buffer: int) -> None:
        self.table = Table()
        self.asked: list[GenerateRequest] = []
        self.routed = DIRECT
        self.made: list[Generation] = []
        self.replica = replica
        self.cache = CachedGenerations(self._generate, key_of, self.table, NoNeighbours(), buffer, time.monotonic)

    async def _generate(self, request: GenerateRequest, asked: Asked) -> tuple[Generation, Routed]:
        self.asked.append(request)
        generation = await self.replica.generate(request)
        self.made.append(generation)
        return generation, self.routed

    async def ask(self, request: GenerateRequest) -> Generation:
        generation, _ = await self.cache.generate(request, Asked())
        return generation

    @property
    def idle(self) -> bool:
        return not self.replica.running and not self.replica.waiting


def key_of(request: GenerateRequest) -> bytes | None:
    """Greedy calls only, told apart by all of the call."""
    return words_of(request.call) if request.call.options.temperature == 0 else None


def greedy(text: str, cache: str = "", deadline: float = float("inf"), **options: object) -> GenerateRequest:
    request = asking(text, deadline, **{"temperature": 0.0, **options})
    return replace(request, hints=Hints(cache=cache))  # type: ignore[arg-type]


@asynccontextmanager
async def cached(buffer: int = 1024, **parameters: object) -> AsyncIterator[World]:
    async with echoing(**parameters) as replica:
        yield World(replica, buffer)
