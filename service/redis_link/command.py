"""One command for Redis, and what its answer must look like."""

from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from service.redis_link.counts import Kind
from service.redis_link.script import Script

Answer = bytes | int | Sequence[bytes | int] | None

RIGHT: Mapping[Kind, Callable[[object], bool]] = {
    "get": lambda reply: reply is None or isinstance(reply, bytes),
    "put": lambda reply: reply == b"OK",
    "run": lambda reply: isinstance(reply, list),
}
"""Any other answer belongs to another command: the connection is out of step."""


@dataclass(slots=True, eq=False)
class Command:
    """`words`: as Redis wants them. `begun`: when it was given, in seconds of the loop. `future`: of who waits for it,
    None where nobody does. `script`: to be sent in full where Redis has lost it. `open`: nothing came of it yet.
    `size`: bytes.
    """

    kind: Kind
    words: tuple[bytes, ...]
    begun: float
    future: "Future[Answer] | None" = None
    script: Script | None = None
    open: bool = True
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.words))

    @property
    def wanted(self) -> bool:
        """Is there still a use in sending it?"""
        return self.future is None or not self.future.done()

    def settle(self, answer: Answer) -> None:
        """Gives the answer to who waits, if anyone does."""
        self.open = False
        if self.future is not None and not self.future.done():
            self.future.set_result(answer)

    def send_in_full(self) -> None:
        """Puts the text of the script in place of its digest, which Redis does not know."""
        if self.script:
            self.words = (b"EVAL", self.script.text, *self.words[2:])
            self.script = None
