"""Whatever the order in which the requests of many sequences come and are answered, each sequence adds up its own."""

import asyncio
import time
from concurrent.futures import Future
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import BatchyardError, RetryLaterError
from service.sequences.replica import SequenceReplica
from service.sequences.scheduler import Scheduler
from service.sequences.turns import Place, Sequence, Turn
from service.types import SequenceStep
from tests.service.sequences.accumulator import Accumulator, config, job, sums

Step = tuple[int, int, str]
"""Sequence, value, flags."""


@st.composite
def arrivals(draw: st.DrawFn) -> list[Step]:
    """The steps of several sequences, interleaved. Those of one id follow each other, whether they end or are begun
    anew in the middle; the last one of each ends, so that all get a slot in the end."""
    sequences = draw(st.lists(st.tuples(st.integers(1, 6), st.lists(st.integers(-9, 9), min_size=1, max_size=5))))
    lines: dict[int, list[Step]] = {}
    for name, values in sequences:
        ends = draw(st.booleans())
        for place, value in enumerate(values):
            flags = "s" * (place == 0) + "e" * (ends and place == len(values) - 1)
            lines.setdefault(name, []).append((name, value, flags))
    for name, line in lines.items():
        line.append((name, 1, "e" if "e" not in line[-1][2] else "se"))
    steps: list[Step] = []
    while lines:
        name = draw(st.sampled_from(sorted(lines)))
        steps.append(lines[name].pop(0))
        if not lines[name]:
            del lines[name]
    return steps


def expected(steps: list[Step]) -> list[int]:
    totals: dict[int, int] = {}
    found = []
    for name, value, flags in steps:
        totals[name] = value if "s" in flags else totals[name] + value
        found.append(totals[name])
    return found


@settings(max_examples=150, deadline=None)
@given(arrivals(), st.lists(st.integers(0, 6), max_size=40), st.integers(1, 2), st.booleans(), st.integers(0, 3))
def test_each_sequence_adds_up_its_own(
    steps: list[Step], delays: list[int], instances: int, direct: bool, pause: int
) -> None:
    async def run() -> None:
        made = [Accumulator() for _ in range(instances)]
        for one in made:
            one.delays = list(delays)
        strategy = "direct { }" if direct else "oldest { max_candidate_sequences: 2 }"
        model = config(strategy, idle=60.0)
        assert model.sequence_batching is not None
        replica = SequenceReplica("m:1", model, model.sequence_batching, made, 1000, time.monotonic)
        tasks = []
        for name, value, flags in steps:
            tasks.append(asyncio.create_task(replica.infer(job(name, value, flags))))
            for _ in range(pause):
                await asyncio.sleep(0)
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*tasks)
        assert [sums(answer) for answer in answers] == [(total, total) for total in expected(steps)]
        assert max(one.most for one in made) <= (4 if direct else 2)
        assert replica.pending == 0
        await replica.close(1.0)
        assert all(one.closed for one in made)

    asyncio.run(run())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4), st.sampled_from(["", "s", "e", "se"])), max_size=60))
def test_no_slot_is_held_twice_and_none_is_lost_whatever_happens(moves: list[tuple[int, int, str]]) -> None:
    slots = 2
    scheduler = Scheduler("m", 1, slots, 5.0, 10)
    entered: list[tuple[Sequence, Turn, Future[Place]]] = []

    def granted() -> list[tuple[Sequence, Turn, Future[Place]]]:
        return [one for one in entered if one[2].done() and one[2].exception() is None]

    for now, (move, name, flags) in enumerate(moves):
        running = granted()
        if move < 5:
            future: Future[Place] = Future()
            turn = Turn(SequenceStep(name, "s" in flags, "e" in flags), future)
            with suppress(BatchyardError):
                entered.append((scheduler.enter(turn), turn, future))
        elif move == 5 and entered:
            one = entered.pop(name % len(entered))
            scheduler.lost(one[0], one[1], now)
        elif move == 6 and running:
            one = running[name % len(running)]
            entered.remove(one)
            scheduler.refused(one[0], one[1], RetryLaterError("busy", 1.0), now)
        elif move == 7:
            scheduler.expire(now)
        elif running:
            one = running[name % len(running)]
            entered.remove(one)
            scheduler.done(one[0], one[1], now)
        entered = [one for one in entered if not (one[2].done() and one[2].exception() is not None)]
        running = granted()
        assert len({id(sequence) for sequence, _, _ in running}) == len(running) <= slots
        assert len({future.result() for _, _, future in running}) == len(running)
        assert scheduler.waiting == len(entered) - len(running)

    while entered:
        one = granted()
        if one:
            entered.remove(one[0])
            scheduler.done(one[0][0], one[0][1], 100.0)
        else:
            scheduler.expire(1000.0)
    assert scheduler.quiet
    scheduler.expire(1000.0)
    places = []
    for name in (11, 12):
        future = Future()
        scheduler.enter(Turn(SequenceStep(name, start=True), future))
        places.append(future.result(0))
    assert places == [(0, 0), (0, 1)]
