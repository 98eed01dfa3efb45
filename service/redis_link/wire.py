"""One connection at work: what is asked in one turn of the event loop goes out at once, and each answer finds its own.

No caller ever touches the connection: two tasks of its own write and read it. A caller that leaves takes its future
along; the answer that comes for it is dropped, so that the next one still finds its own.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, cast

from service.redis_link.command import RIGHT, Answer, Command
from service.redis_link.counts import Counts, Failure
from service.redis_link.health import Health
from service.redis_link.line import Line, LineError, Refusal

_FIRST_LOOK, _LAST_LOOK = 0.6, 0.2
"""Shares of the time for an answer, one after the other: where the event loop itself was held up, answers may lie there
unread at the first look. The rest is what timers are late by, which uvloop has in whole milliseconds."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`seconds`: for an answer. `silent`: turns in a row without one in time, over at least `silent_for` seconds,
    after which the connection is given up. `most`: commands that wait for an answer; `most_bytes`: their size."""

    seconds: float
    silent: int
    silent_for: float
    most: int
    most_bytes: int


class Wire:
    """An open `line`. Used on the event loop. `dead`: the connection is lost, nothing is taken any more."""

    def __init__(self, line: Line, bounds: Bounds, counts: Counts, health: Health) -> None:
        self.dead = False
        self._line = line
        self._bounds = bounds
        self._counts = counts
        self._health = health
        self._loop = asyncio.get_running_loop()
        self._turn: list[Command] = []
        self._again: list[Command] = []
        self._sent: deque[Command] = deque()
        self._more = asyncio.Event()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._waiting = self._bytes = self._silent = 0
        self._silent_since = 0.0

    def send(self, command: Command) -> bool:
        """Takes a command for this turn; False where too much waits already."""
        bounds = self._bounds
        if self.dead or self._waiting >= bounds.most or self._bytes + command.size > bounds.most_bytes:
            return False
        self._waiting += 1
        self._bytes += command.size
        if not self._turn:
            self._more.set()
            self._loop.call_later(bounds.seconds * _FIRST_LOOK, self._look_again, self._turn)
        self._turn.append(command)
        return True

    async def run(self) -> NoReturn:
        """Works until the connection is lost, and raises the `LineError` that it was lost to."""
        tasks: list[asyncio.Task[str]] = [self._loop.create_task(work) for work in (self._write(), self._read())]
        try:
            ends: list[asyncio.Future[str]] = [self._lost, *tasks]
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            raise LineError(next(iter(done)).result())
        finally:
            self._give_up()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._line.close()

    async def _write(self) -> NoReturn:
        while True:
            await self._more.wait()
            self._more.clear()
            turn, self._turn = [*self._again, *self._turn], []
            self._again.clear()
            wanted = self._still_wanted(turn)
            self._sent.extend(wanted)
            await self._line.send(command.words for command in wanted)

    def _still_wanted(self, turn: Sequence[Command]) -> list[Command]:
        wanted = [command for command in turn if command.wanted]
        if len(wanted) < len(turn):
            for command in turn:
                if not command.wanted:
                    self._release(command)
        return wanted

    async def _read(self) -> NoReturn:
        while True:
            reply = await self._line.read()
            if not self._sent:
                raise LineError("it answered what was not asked")
            command = self._sent.popleft()
            if isinstance(reply, Refusal):
                self._refused(command, reply)
            else:
                self._answered(command, reply)

    def _answered(self, command: Command, reply: object) -> None:
        self._release(command)
        if not RIGHT[command.kind](reply):
            self._fail(command, "wrong")
            raise LineError(f"its answer to a {command.kind} is none: the connection is out of step")
        if command.open:
            self._silent = 0
            self._counts.seconds.observe(self._loop.time() - command.begun)
            command.settle(cast(Answer, reply))
        if command.kind != "get":
            self._health.stored()

    def _refused(self, command: Command, refusal: Refusal) -> None:
        if command.open:
            self._silent = 0
        if refusal.forgotten and command.script and command.open:
            command.send_in_full()
            self._again.append(command)
            self._more.set()
            return
        self._release(command)
        self._fail(command, "refused")
        if refusal.of_writes:
            self._health.refused(refusal.text)

    def _look_again(self, turn: list[Command]) -> None:
        if turn is self._turn:  # not written yet; what comes from now on is looked at in its own time
            self._again += turn
            self._turn = []
        if any(command.open for command in turn):
            self._loop.call_later(self._bounds.seconds * _LAST_LOOK, self._expire, turn)

    def _expire(self, turn: list[Command]) -> None:
        late = [command for command in turn if command.open]
        for command in late:
            self._fail(command, "late")
        if not late:
            return
        now = self._loop.time()
        self._silent += 1
        self._silent_since = now if self._silent == 1 else self._silent_since
        long = self._silent >= self._bounds.silent and now - self._silent_since >= self._bounds.silent_for
        if long and not self._lost.done():
            self._lost.set_result(f"no answer within {self._bounds.seconds * 1000:g} ms")

    def _give_up(self) -> None:
        self.dead = True
        for command in (*self._sent, *self._again, *self._turn):
            self._fail(command, "lost")

    def _fail(self, command: Command, reason: Failure) -> None:
        if command.open:
            if command.wanted:
                self._counts.failures[command.kind, reason] += 1
            command.settle(None)

    def _release(self, command: Command) -> None:
        self._waiting -= 1
        self._bytes -= command.size
