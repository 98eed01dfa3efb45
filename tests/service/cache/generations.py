"""Cached generations over the echo model: what was asked of it is counted, and `now` is the time of what is kept."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace

from service.cache.call_words import words_of
from service.cache.levels import BYTES_FORM, Caching, Kept, Levels
from service.cache.memory import Memory
from service.cached_generations import CachedGenerations, TextCaching
from service.errors import BatchyardError
from service.generating import GenerateRequest, Generation
from service.generation.replica import GeneratorReplica
from service.routing.errand import Asked
from service.types import DIRECT, Hints, Routed
from tests.service.generation.echoes import asking, echoing


class World:
    """`open`: generations of the model that run. `routed`: how the model's answers say that they were routed.
    `metadata`: of its answers; `refusal`: what it raises instead. `changes`: counts what is loaded."""

    def __init__(self, replica: GeneratorReplica, buffer: int) -> None:
        self.now = 1000.0
        self.memory: Memory[Kept] = Memory(2**20, lambda: self.now)
        self.levels = Levels(Caching(self.memory, 2**20, 3600, lambda: self.now), BYTES_FORM)
        self.asked: list[GenerateRequest] = []
        self.routed = DIRECT
        self.refusal: BatchyardError | None = None
        self.metadata: Mapping[str, str] = {}
        self.made: list[Generation] = []
        self.replica = replica
        self.changes = 0
        texts = TextCaching(buffer, {})
        self.cache = CachedGenerations(self._generate, key_of, self.levels, texts, time.monotonic, lambda: self.changes)

    async def _generate(self, request: GenerateRequest, asked: Asked) -> tuple[Generation, Routed]:
        self.asked.append(request)
        if self.refusal is not None:
            raise copy(self.refusal)
        generation = await self.replica.generate(request)
        generation.metadata = self.metadata
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
