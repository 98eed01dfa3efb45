"""Where answers are kept: this process's memory, and behind it what several gateways share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from service.cache.entry import Entry, sealed, unsealed
from service.cache.memory import Memory

Value = TypeVar("Value")


class Store(Protocol):
    """A Redis that may do anything: see `service.redis_link`."""

    async def get(self, key: bytes) -> bytes | None:
        """What was put; None too where the store is away or slow. Never raises but `CancelledError`."""

    def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keeps a value for so many seconds, if it can. Never waits."""


@dataclass(frozen=True, slots=True)
class Form(Generic[Value]):
    """What a kind of value is as bytes. `size`: of the memory it takes. `write`: None for one that bytes cannot say.
    `read`: None for bytes that are none."""

    size: Callable[[Value], int]
    write: Callable[[Value], bytes | None]
    read: Callable[[bytes], Value | None]


BYTES_FORM: Form[bytes] = Form(len, bytes, bytes)


class Kept(NamedTuple):
    """`made`: seconds since 1970."""

    value: Any
    made: float


@dataclass(frozen=True, slots=True)
class Caching:
    """What all caches of the process share. `store`: None, memory alone. `largest`: bytes of one value; `ttl`: seconds;
    `now`: seconds since 1970."""

    memory: Memory[Kept]
    largest: int
    ttl: float
    now: Callable[[], float]
    store: Store | None = None


class Levels(Generic[Value]):
    """One kind of value on both levels. Used on the event loop only."""

    def __init__(self, caching: Caching, form: Form[Value]) -> None:
        self._memory = caching.memory
        self._store = caching.store
        self._largest = caching.largest
        self._ttl = caching.ttl
        self._now = caching.now
        self._form = form

    def recall(self, key: bytes) -> tuple[Value, float] | None:
        """What memory has, and how many seconds ago it was made."""
        kept = self._memory.get(key)
        return (kept.value, max(0.0, self._now() - kept.made)) if kept else None

    async def fetch(self, key: bytes) -> tuple[Value, float] | None:
        """What the store has, if it is whole; from now on memory has it as well."""
        found = await self._store.get(key) if self._store else None
        entry = unsealed(key, found) if found else None
        value = self._form.read(entry.content) if entry else None
        if entry is None or value is None:
            return None
        age = max(0.0, self._now() - entry.made)
        if age >= self._ttl:
            return None
        self._remember(key, value, entry.cost, entry.made)
        return value, age

    async def get(self, key: bytes) -> tuple[Value, float] | None:
        """What either has."""
        return self.recall(key) or await self.fetch(key)

    def put(self, key: bytes, value: Value, cost: float) -> None:
        """Keeps a value on both levels, if it is not too large. `cost`: seconds that it took to make."""
        made = self._now()
        content = self._form.write(value) if self._remember(key, value, cost, made) and self._store else None
        if self._store and content is not None:
            self._store.put(key, sealed(key, Entry(content, made, cost)), self._ttl)

    def _remember(self, key: bytes, value: Value, cost: float, made: float) -> bool:
        size = self._form.size(value)
        if size > self._largest:
            return False
        self._memory.put(key, Kept(value, made), size, cost, made + self._ttl)
        return True
