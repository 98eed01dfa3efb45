"""Lines in which one goes on after the other."""

from asyncio import Future, get_running_loop
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Place:
    """A place in a line. Whoever has one leaves it in every case, once."""

    _before: "Future[None] | None"
    _own: "Future[None]"

    async def turn(self) -> None:
        """Waits until the one before has left."""
        if self._before is not None and not self._before.done():
            await self._before

    def leave(self) -> None:
        """Lets the next one go on."""
        if not self._own.done():
            self._own.set_result(None)


class Line:
    """One line for each key; it is forgotten when the last in it has left."""

    def __init__(self) -> None:
        self._last: dict[Hashable, Future[None]] = {}

    def join(self, key: Hashable) -> Place:
        """The last place in line."""
        before = self._last.get(key)
        own: Future[None] = get_running_loop().create_future()
        self._last[key] = own
        own.add_done_callback(lambda _: self._forget(key, own))
        return Place(before, own)

    def _forget(self, key: Hashable, place: "Future[None]") -> None:
        if self._last.get(key) is place:
            del self._last[key]
