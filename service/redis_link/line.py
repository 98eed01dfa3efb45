"""A connection to Redis, as the link sees it; which library makes it is `redis_py`'s to know."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from service.errors import BatchyardError


class RedisSettingsError(BatchyardError):
    """The settings name a Redis that cannot be used like this; says what to change."""


class RedisMissingError(BatchyardError):
    """A Redis that must be there is not."""


class LineError(Exception):
    """The connection is lost, or cannot be trusted any more; says why, without any secret."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Redis answered with an error. `forgotten`: it does not know the script. `of_writes`: it takes nothing else,
    because it is full, a replica, or cannot save.
    """

    text: str
    forgotten: bool = False
    of_writes: bool = False


class Line(Protocol):
    """One open connection. Answers come in the order of the commands."""

    async def send(self, commands: Iterable[tuple[bytes, ...]]) -> None:
        """Writes them at once; raises `LineError`."""

    async def read(self) -> object:
        """The next answer: bytes, int, list, None or a `Refusal`; raises `LineError`."""

    async def close(self) -> None:
        """Ends it, whatever is under way."""
