"""Constant load on two gateways: each question is new to the first, and a little later it is asked of the second, which
has it from Redis if Redis is well."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from urllib.parse import urlsplit

from tests.chaos.callers import Callers
from tests.chaos.ledger import Entry, Ledger
from tests.chaos.questions import PLAIN, Answer, Question, Questions

RATE = 50.0
"""New questions a second."""
LATER = 0.2
"""Seconds until the second gateway is asked the same."""
_VERDICT = "x-cache"


@dataclass(slots=True)
class Phase:
    """What was asked between two moments. `seconds`: of new questions at the first gateway. `verdicts`: what the caches
    of the second said."""

    seconds: list[float] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    requests: int = 0

    def quantile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Load:
    """Asks for as long as `running` lasts; `phase` is replaced by whoever wants to tell times apart."""

    def __init__(self, first: str, second: str) -> None:
        self.phase = Phase()
        self._questions = Questions(Random(6))
        self._first, self._second = (_callers(url) for url in (first, second))
        self._asking: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until the end of the block; then all answers are waited for."""
        ticking = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.gather(*self._asking)
            await self._first.leave()
            await self._second.leave()

    async def shared(self) -> bool:
        """Does the second gateway find what the first one just stored?"""
        phase, question = Phase(), self._questions.good(PLAIN)
        await self._ask(self._first, question, phase)
        await asyncio.sleep(0.02)
        await self._ask(self._second, question, phase)
        return phase.verdicts["hit"] > 0

    async def _tick(self) -> None:
        """New questions at even times, whatever becomes of those before."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            task = asyncio.create_task(self._twice(self._questions.good(PLAIN)))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
            due += 1 / RATE
            await asyncio.sleep(due - loop.time())

    async def _twice(self, question: Question) -> None:
        phase = self.phase
        entry = await self._ask(self._first, question, phase)
        phase.seconds.append(entry.seconds)
        await asyncio.sleep(LATER)
        await self._ask(self._second, question, self.phase)

    async def _ask(self, callers: Callers, question: Question, phase: Phase) -> Entry:
        def right(answer: Answer) -> bool:
            if callers is self._second:
                phase.verdicts[answer.headers.get(_VERDICT, "")] += 1
            return question.right(answer)

        entry = await callers.ask(replace(question, right=right))
        phase.requests += 1
        if not entry.expected:
            phase.errors.append(str(entry))
        return entry


def _callers(url: str) -> Callers:
    parts = urlsplit(url)
    return Callers(str(parts.hostname), int(parts.port or 80), Ledger("redis"))
