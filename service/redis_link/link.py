"""The link to a Redis: what it offers never fails, never waits long, and works the same while there is no Redis."""

from asyncio import Future, get_running_loop
from collections.abc import Sequence
from typing import cast

from service.cache_settings import RedisSettings
from service.redis_link.command import Answer, Command
from service.redis_link.counts import Counts, Kind
from service.redis_link.keeper import Dial, Keeper
from service.redis_link.line import RedisMissingError, RedisSettingsError
from service.redis_link.script import Script
from service.redis_link.wire import Wire


class RedisLink:
    """`dial`: opens a connection. `name`: of the Redis, for people. Used on the event loop, from `start` to `close`.

    What is asked in one turn of the event loop goes out together. Nothing says in which order `get` and `run` on one
    side, and `put` on the other, reach Redis. No answer is looked into: a value must say itself what it is of.
    """

    def __init__(self, settings: RedisSettings, dial: Dial, name: str) -> None:
        self.counts = Counts()
        self._name = name
        self._required = settings.required
        self._prefix = settings.prefix.encode() + b":"
        self._keeper = Keeper(dial, name, settings.timeout_ms / 1000, self._prefix, self.counts)

    async def check(self) -> None:
        """Raises `RedisMissingError` where it is required and cannot be reached."""
        fault = await self._keeper.fault() if self._required else ""
        if fault:
            raise RedisMissingError(
                f"redis.required = true wants a Redis at {self._name}, found: {fault}; start it, correct redis.url or "
                "redis.password, or set redis.required = false to serve without it"
            )

    async def start(self) -> None:
        """Reaches it, or goes on trying; raises as `check`."""
        await self.check()
        await self._keeper.start()

    async def close(self) -> None:
        """Lets go of it; what was told and not yet sent is lost."""
        await self._keeper.close()

    async def get(self, key: bytes) -> bytes | None:
        """The value; None where there is none, or where Redis is away, late or wrong."""
        future = self._ask("get", (b"GET", self._prefix + key))
        return None if future is None else cast("bytes | None", await future)

    def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Stores a value for `ttl` seconds. Never waits: where Redis is away, full or behind, it is dropped."""
        milliseconds = round(ttl * 1000)
        if milliseconds <= 0 or (wire := self._there("put", self._keeper.telling)) is None:
            return
        if self._keeper.health.takes_writes:
            words = (b"SET", self._prefix + key, value, b"PX", b"%d" % milliseconds)
            self._sent(wire, Command("put", words, get_running_loop().time()))
        else:
            self.counts.drops["put", "paused"] += 1

    async def run(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]
    ) -> Sequence[bytes | int] | None:
        """Runs a script in one piece; None where Redis is away, late or wrong: then it may have run all the same."""
        named = [self._prefix + key for key in keys]
        words = (b"EVALSHA", script.digest, b"%d" % len(named), *named, *arguments)
        future = self._ask("run", words, script)
        return None if future is None else cast("Sequence[bytes | int] | None", await future)

    def _ask(self, kind: Kind, words: tuple[bytes, ...], script: Script | None = None) -> "Future[Answer] | None":
        wire = self._there(kind, self._keeper.asking)
        if wire is None:
            return None
        loop = get_running_loop()
        future: Future[Answer] = loop.create_future()
        return future if self._sent(wire, Command(kind, words, loop.time(), future, script)) else None

    def _there(self, kind: Kind, wire: Wire | None) -> Wire | None:
        """The connection, if it is alive."""
        if wire is not None and not wire.dead:
            return wire
        self.counts.drops[kind, "away"] += 1
        return None

    def _sent(self, wire: Wire, command: Command) -> bool:
        taken = wire.send(command)
        if taken:
            self.counts.commands[command.kind] += 1
        else:
            self.counts.drops[command.kind, "backlog"] += 1
        return taken


def open_link(settings: RedisSettings) -> RedisLink | None:
    """The link that the settings ask for, not started; None where they name no Redis. Raises `RedisSettingsError`."""
    if not settings.url:
        return None
    try:
        from service.redis_link.redis_py import Dialler
    except ImportError as error:
        raise RedisSettingsError(
            f"redis.url names a Redis, but {error.name} is not installed; run: pip install 'batchyard[redis]'"
        ) from error
    dialler = Dialler(settings)
    return RedisLink(settings, dialler, dialler.name)
