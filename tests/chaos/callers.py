"""The callers of one row: they ask over real sockets, judge what comes back, and write it into the ledger."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import orjson

from tests.chaos.ledger import Entry, Ledger, Outcome
from tests.chaos.questions import Answer, Question
from tests.chaos.wire import LINGER, Closed, Connection, connect

DEADLINE = 30.0
"""Seconds that the server gives a request that names no deadline."""
PATIENCE = DEADLINE + 5.0
"""Seconds after which a caller without an answer calls it a hang: the deadline, and a margin for a busy machine."""
_TEACHING = 20
"""Letters below which an error message cannot say what was wrong."""
_REFUSALS = (429, 503)


@dataclass(frozen=True, slots=True)
class Call:
    """A request about to be sent."""

    connection: Connection
    request: bytes
    entry: Entry
    answer: "asyncio.Future[Answer]"


Manner = Callable[[Call], Awaitable[None]]
"""How a caller sends its request, reads its answer, or leaves."""


async def at_once(call: Call) -> None:
    """Sends all of it and waits."""
    call.entry.whole = True
    call.connection.write(call.request)


@dataclass(slots=True)
class Callers:
    """A pool of keep-alive connections to one server. `stopping`: the server was told to stop, so it may refuse."""

    host: str
    port: int
    ledger: Ledger
    patience: float = PATIENCE
    stopping: bool = False
    _idle: list[Connection] = field(default_factory=list)
    _all: list[Connection] = field(default_factory=list)

    async def ask(self, question: Question, manner: Manner = at_once) -> Entry:
        """Asks, waits for the end, and writes it down."""
        loop = asyncio.get_running_loop()
        entry = self.ledger.open(question)
        start = loop.time()
        try:
            connection = await self._connection()
        except OSError as error:
            self.ledger.end(entry, Outcome.REFUSED if self.stopping else Outcome.CUT, f"no connection: {error}")
            return entry
        await self._exchange(connection, entry, manner)
        entry.seconds = loop.time() - start
        if connection.usable:
            self._idle.append(connection)
        return entry

    async def _exchange(self, connection: Connection, entry: Entry, manner: Manner) -> None:
        request_id = self.ledger.id_of(entry)
        request = entry.question.request(f"{self.host}:{self.port}", request_id)
        waiting = connection.expect(request_id)
        try:
            async with asyncio.timeout(self.patience):
                await manner(Call(connection, request, entry, waiting))
                answer = await waiting
        except TimeoutError:
            self.ledger.end(entry, Outcome.HANG, f"no answer within {self.patience:.0f} s")
            connection.abort()
        except Closed as error:
            self.ledger.end(entry, Outcome.CUT, str(error))
        else:
            entry.status = answer.status
            self.ledger.end(entry, *judge(entry.question, answer))

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        connection = await connect(self.host, self.port, self.ledger.again)
        self._all = [one for one in self._all if one.usable] + [connection]
        return connection

    async def go_on(self, make: Callable[[], Question], pause: float, chance: Random, stop: asyncio.Event) -> None:
        """Asks one after the other, `pause` seconds on average between them, until `stop` or a refused connection."""
        while not stop.is_set():
            entry = await self.ask(make())
            if self.stopping and entry.status == 0:
                return
            await asyncio.sleep(chance.expovariate(1 / pause))

    async def leave(self) -> None:
        """Waits for second answers, then hangs up."""
        await asyncio.sleep(LINGER)
        for connection in self._all:
            connection.close()


def judge(question: Question, answer: Answer) -> tuple[Outcome, str]:
    """What an answer is, and why where it is not right."""
    if answer.status == 200:
        try:
            right = question.right(answer)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            return Outcome.WRONG, f"an answer that cannot be read: {type(error).__name__}: {error}"
        return (Outcome.RIGHT, "") if right else (Outcome.WRONG, f"answered with {answer.body[:200]!r}")
    message = _message(answer)
    if len(message) < _TEACHING or message.startswith("internal error"):
        return Outcome.WRONG, f"an error that teaches nothing: {answer.body[:200]!r}"
    refused = answer.status in _REFUSALS and answer.headers.get("retry-after", "").isdigit()
    return Outcome.REFUSED if refused else Outcome.ERROR, message


def _message(answer: Answer) -> str:
    try:
        return str(orjson.loads(answer.body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""
