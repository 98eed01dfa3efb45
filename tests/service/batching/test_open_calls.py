"""Open calls by numbers: who is settled, who waits again, who is at fault; and a storm of them, with real threads."""

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from engines.calls import Call, Response
from engines.errors import EngineLostError
from service.batching.losses import LONE_LOSSES
from service.batching.open_calls import BatchSize, OpenCalls, Outlet
from service.batching.ticket import Answer, Ticket, Waiting
from service.batching.worker import Result
from service.errors import EngineFailedError
from service.types import Timing
from tests.service.batching.calls import Doubling, answer, job, read_all, replica, value

LOST = EngineLostError("the process ended")
ALONE = BatchSize(1, 1, 1)


@dataclass
class Heard:
    """What became of the calls."""

    settled: list[tuple[Ticket, Result]] = field(default_factory=list)
    again: list[Ticket] = field(default_factory=list)
    condemned: list[Ticket] = field(default_factory=list)

    def calls(self) -> OpenCalls:
        return OpenCalls(
            Outlet(
                lambda ticket, result: self.settled.append((ticket, result)),
                self.again.append,
                lambda ticket, error: self.condemned.append(ticket),
            )
        )


def ticket() -> Ticket:
    future: Future[list[Answer]] = Future()
    tensors = {"x": np.zeros((1, 1), np.float32)}
    return Ticket(Waiting(future, [None], 1), 0, tensors, 1, 1, 0.0, 1.0, 1.0, 1.0)


def one(*, final: bool) -> Answer:
    return Answer({}, Timing(), final=final)


def test_what_comes_after_the_final_answer_is_dropped() -> None:
    heard = Heard()
    calls = heard.calls()
    call = calls.begin(ticket(), 0, 0.0, ALONE)
    for final in (False, True, False, True):
        calls.answer(call, one(final=final), final=final)
    assert [result.final for _, result in heard.settled if isinstance(result, Answer)] == [False, True]
    assert len(calls) == 0
    assert not calls.end(call)


def test_a_loss_ends_the_calls_of_its_instance_alone() -> None:
    heard = Heard()
    calls = heard.calls()
    mine, answered, other = ticket(), ticket(), ticket()
    for instance, held in ((0, mine), (0, answered), (1, other)):
        call = calls.begin(held, instance, 0.0, ALONE)
        calls.left(call)
        if held is answered:
            calls.answer(call, one(final=False), final=False)
    calls.lost(0, LOST)
    assert heard.again == [mine]
    assert [held for held, result in heard.settled if isinstance(result, EngineFailedError)] == [answered]
    assert (mine.losses, mine.lone_losses) == (1, 0)
    assert calls.of(1) == 1


def test_a_loss_between_the_end_of_the_run_and_what_is_noted_of_it_is_not_missed() -> None:
    heard = Heard()
    calls = heard.calls()
    held = ticket()
    call = calls.begin(held, 0, 0.0, ALONE)
    calls.lost(0, LOST)
    assert not heard.again
    calls.left(call)
    assert heard.again == [held]
    assert held.lone_losses == 1


def test_one_that_was_alone_in_engines_that_were_lost_is_at_fault() -> None:
    heard = Heard()
    calls = heard.calls()
    held = ticket()
    for _ in range(LONE_LOSSES):
        calls.left(calls.begin(held, 0, 0.0, ALONE))
        calls.lost(0, LOST)
    assert heard.again == [held] * (LONE_LOSSES - 1)
    assert heard.condemned == [held]


def test_nobody_is_told_who_left() -> None:
    heard = Heard()
    calls = heard.calls()
    held = ticket()
    call = calls.begin(held, 0, 0.0, ALONE)
    calls.left(call)
    held.waiting.future.set_exception(TimeoutError())
    calls.answer(call, one(final=False), final=False)
    calls.lost(0, LOST)
    assert heard == Heard()


class Storm(Doubling):
    """Answers from many threads: the call of value n gets n answers, 0 to n - 1, and the end."""

    def __init__(self, seed: int, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self._draw = random.Random(seed)
        self._pool = pool

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        order = list(calls)
        self._draw.shuffle(order)
        for call in order:
            if self._draw.random() < 0.2:
                self._say(call)
            else:
                self._pool.submit(self._say, call)
        return [None] * len(calls)

    def _say(self, call: Call) -> None:
        for number in range(int(value(call.inputs))):
            call.respond(answer(number, final=False))
        call.respond(Response())
        call.respond(answer(-1))


async def test_a_storm_of_streams_gives_each_its_own_answers_in_order() -> None:
    with ThreadPoolExecutor(8) as pool:
        engines = [Storm(seed, pool) for seed in range(3)]
        async with replica(*engines, instances=3, decoupled=True, stream_buffer=100, max_queue=1000) as (made, _):

            async def ask(count: int) -> list[tuple[float | None, bool]]:
                responses = await made.stream(job(count))
                try:
                    return await read_all(responses)
                finally:
                    responses.close()

            counts = [number % 13 for number in range(300)]
            found = await asyncio.gather(*(ask(count) for count in counts))
    for count, answers in zip(counts, found, strict=True):
        assert answers == [*((float(number), False) for number in range(count)), (None, True)]
