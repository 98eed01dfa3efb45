"""A gateway over doubles whose answers are cached, with a clock of its own."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.config.pbtxt import parse
from service.cache.levels import Caching, Kept, Store
from service.cache.memory import Memory
from service.catalog import Model
from service.gateway import Gateway
from service.routing.policies import Variant
from tests.service.routing.doubles import Clock, Setting

CONFIG = parse(
    'name: "a" backend: "identity" max_batch_size: 64 response_cache { enable: true }'
    ' input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }',
    source="a",
    folder=Path("a"),
)
TTL = 60.0


class Shelf:
    """A store that is always there; holds what was put, counts how often it was asked. `hold`: it waits for that."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.asked = 0
        self.hold: asyncio.Event | None = None

    async def get(self, key: bytes) -> bytes | None:
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        return self.values.get(key)

    def put(self, key: bytes, value: bytes, ttl: float) -> None:
        self.values[key] = value


class CachedSetting(Setting):
    """Each of its models, and the route `both`, is cached. `now`: the clock of ages."""

    def __init__(self, *names: str | Variant, store: Store | None = None, **route: Any) -> None:
        super().__init__(*names, cache=True, **route)
        self.now = Clock()
        self.memory: Memory[Kept] = Memory(2**20, self.now)
        caching = Caching(self.memory, 2**16, TTL, self.now, store)
        self.gateway = Gateway(self.catalog, self.metrics, self.clock, caching=caching)
        for name, model in self.catalog.models.items():
            self.catalog.show(Model(name, replace(CONFIG, name=name), model.versions))

    async def verdicts(self, requests: Sequence[Any]) -> list[str]:
        """What the cache says of each, asked one after the other."""
        return [(await self.gateway.infer(request)).cached.verdict for request in requests]
