"""A sequence and the turns of its requests."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from engines.tensor import Array
from service.types import SequenceStep


class Place(NamedTuple):
    """What a sequence holds while it goes on: an engine instance, and one of its slots."""

    instance: int
    slot: int


class Settleable(Protocol):
    """The part of a future that turns need; asyncio's and concurrent.futures' both fit."""

    def done(self) -> bool: ...

    def set_result(self, result: Place, /) -> None: ...

    def set_exception(self, exception: Exception, /) -> None: ...


@dataclass(slots=True, eq=False)
class Turn:
    """One request of a sequence. `future`: gets the place once its predecessors are done; done where nobody waits.

    `owner`: the tenant; each has sequences of its own, whatever they are called.
    """

    step: SequenceStep
    future: Settleable
    owner: str = ""

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Sequence:
    """`turns`: in the order they came; the first has the place where the sequence is `running`.

    `ended`: its last turn, done or not, is its end; only one that starts anew may follow. `state`: what its next turn
    goes on from. `restarts`: of the engine, when the sequence began.
    """

    id: int | str
    owner: str = ""
    place: Place | None = None
    turns: list[Turn] = field(default_factory=list)
    running: bool = False
    ended: bool = False
    state: dict[str, Array] = field(default_factory=dict)
    restarts: int = 0
