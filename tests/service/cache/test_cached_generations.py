"""Generated text out of the cache, over the real echo model."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from engines.generation import Event
from service.cache.replay import GROUP
from service.errors import (
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    QueueFullError,
    SlowReaderError,
)
from service.generating import Generation
from service.types import NOT_CACHED, Routed
from tests.service.cache.generations import World, cached, greedy, key_of
from tests.service.garbage import frames_left_by
from tests.service.generation.echoes import asking, events_of, text_of, usage_of

ENDLESS = {"ignore_eos": True, "max_tokens": 8000}
SLOW = {"echo__step_ms": 2}


async def whole(world: World, text: str = "hello there", **options: object) -> tuple[Generation, list[Event]]:
    generation = await world.ask(greedy(text, **options))
    events = await events_of(generation)
    generation.close()
    return generation, events


async def until_idle(world: World) -> None:
    async with asyncio.timeout(10):
        while not world.idle:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


async def test_a_hit_is_the_same_events_and_asks_nobody() -> None:
    async with cached() as world:
        first, events = await whole(world, n=2, logprobs=0)
        world.now += 7
        second, again = await whole(world, n=2, logprobs=0)
        assert again == events
        assert len(world.asked) == 1
        assert (first.cached.verdict, second.cached.verdict, second.cached.age) == ("miss", "hit", 7.0)
        assert (second.model, second.version, second.engine) == (first.model, first.version, first.engine)
        assert second.timing.engine_seconds == second.timing.queue == 0
        assert await second.read() == ()


async def test_a_long_hit_comes_in_pieces_and_ends_when_it_is_closed() -> None:
    async with cached() as world:
        await whole(world, "x" * 200)
        replay = await world.ask(greedy("x" * 200))
        assert len(await replay.read()) == GROUP
        replay.close()
        assert await replay.read() == ()


async def test_what_depends_on_chance_is_never_kept() -> None:
    async with cached() as world:
        for _ in range(2):
            generation = await world.ask(asking("hello", temperature=0.7))
            await events_of(generation)
            assert generation.cached is NOT_CACHED
        assert len(world.asked) == 2
        assert not len(world.memory)


async def test_no_store_and_no_cache() -> None:
    async with cached() as world:
        for cache, kept in (("no-store", 0), ("no-cache", 1), ("no-cache", 1)):
            generation = await world.ask(greedy("hello", cache))
            assert text_of(await events_of(generation)) == "hello"
            assert len(world.memory) == kept
        assert len(world.asked) == 3
        assert (await world.ask(greedy("hello"))).cached.verdict == "hit"


async def test_equal_requests_at_once_are_generated_once() -> None:
    async with cached() as world:
        answers = await asyncio.gather(*(whole(world) for _ in range(1000)))
        assert len(world.asked) == 1
        verdicts = sorted(generation.cached.verdict for generation, _ in answers)
        assert verdicts == ["coalesced"] * 999 + ["miss"]
        assert all(events == answers[0][1] for _, events in answers)


async def test_the_first_reader_leaves_and_the_others_go_on() -> None:
    async with cached(**SLOW) as world:
        first = await world.ask(greedy("a" * 50))
        await first.read()
        second = await world.ask(greedy("a" * 50))
        first.close()
        assert text_of(await events_of(second)) == "a" * 50
        assert len(world.asked) == 1
        assert (await world.ask(greedy("a" * 50))).cached.verdict == "hit"


async def test_a_first_caller_that_is_cancelled_while_it_waits_takes_nobody_along() -> None:
    async with cached(generation__max_sequences=1, **SLOW) as world:
        first = asyncio.create_task(world.ask(greedy("b")))
        second = asyncio.create_task(world.ask(greedy("b")))
        await asyncio.sleep(0)
        first.cancel()
        assert text_of(await events_of(await second)) == "b"
        assert len(world.asked) == 1


async def test_the_last_reader_that_leaves_ends_it_and_nothing_is_kept() -> None:
    async with cached(**SLOW) as world:
        readers = [await world.ask(greedy("a", **ENDLESS)) for _ in range(3)]
        for reader in readers:
            await reader.read()
            assert not world.idle
            reader.close()
        await until_idle(world)
        assert not len(world.memory)
        again = await world.ask(greedy("a", **ENDLESS))
        assert again.cached.verdict == "miss"
        again.close()
        await until_idle(world)


async def test_a_slow_reader_is_cut_off_alone() -> None:
    async with cached(buffer=20, **SLOW) as world:
        slow, quick = [await world.ask(greedy("abc" * 50)) for _ in range(2)]
        await slow.read()
        assert text_of(await events_of(quick)) == "abc" * 50
        with pytest.raises(SlowReaderError):
            await events_of(slow)


async def test_a_reader_that_never_reads_does_not_keep_its_place() -> None:
    async with cached(buffer=20, generation__max_sequences=1) as world:
        stuck = await world.ask(greedy("a", **ENDLESS))
        await until_idle(world)
        with pytest.raises(SlowReaderError):
            await events_of(stuck)


async def test_each_has_its_own_deadline() -> None:
    async with cached(**SLOW) as world:
        long = await world.ask(greedy("a" * 100, deadline=time.monotonic() + 60))
        short = await world.ask(greedy("a" * 100, deadline=time.monotonic() + 0.05))
        assert short.cached.verdict == "coalesced"
        with pytest.raises(DeadlineExceededError):
            await events_of(short)
        short.close()
        assert text_of(await events_of(long)) == "a" * 100


async def test_who_has_more_time_does_not_join_what_ends_long_before() -> None:
    async with cached(**SLOW) as world:
        short = await world.ask(greedy("a" * 100, deadline=time.monotonic() + 0.05))
        long = await world.ask(greedy("a" * 100, deadline=time.monotonic() + 60))
        assert (short.cached.verdict, long.cached.verdict) == ("miss", "miss")
        with pytest.raises(DeadlineExceededError):
            await events_of(short)
        assert text_of(await events_of(long)) == "a" * 100


async def test_priorities_are_not_mixed() -> None:
    async with cached(**SLOW) as world:
        flexible = await world.ask(replace(greedy("abc"), priority=3))
        urgent = await world.ask(replace(greedy("abc"), priority=1))
        assert (flexible.cached.verdict, urgent.cached.verdict) == ("miss", "miss")
        await events_of(flexible)
        await events_of(urgent)


async def test_errors_are_told_to_all_and_kept_by_nobody() -> None:
    async with cached(echo__break_on=0) as world:
        for _ in range(2):
            with pytest.raises(InvalidRequestError):
                await world.ask(greedy("a", max_tokens=100_000))
            readers = [await world.ask(greedy("!")) for _ in range(2)]
            for reader in readers:
                with pytest.raises(EngineFailedError):
                    await events_of(reader)
                reader.close()
        assert not len(world.memory)
        assert len(world.asked) == 4


async def test_the_answer_of_a_stand_in_is_not_kept() -> None:
    async with cached() as world:
        world.routed = Routed("route", step_down="small:1")
        await whole(world)
        assert not len(world.memory)


async def test_damaged_values_are_misses() -> None:
    async with cached() as world:
        _, events = await whole(world)
        key = key_of(greedy("hello there"))
        found = world.levels.recall(key) if key else None
        assert key
        assert found
        for damaged in (b"", found[0][:-1], b"\xc1" * 9, found[0][1:]):
            world.levels.put(key, damaged, 1)
            generation, again = await whole(world)
            assert (generation.cached.verdict, again) == ("miss", events)


async def test_engine_seconds_are_charged_once() -> None:
    async with cached(**SLOW) as world:
        first, second = [await world.ask(greedy("a" * 20)) for _ in range(2)]
        await first.read()
        world.made[0].timing.engine_seconds = 2.0
        assert (first.timing.engine_seconds, second.timing.engine_seconds) == (2.0, 0.0)
        first.close()
        await events_of(second)
        world.made[0].timing.engine_seconds = 5.0
        assert (first.timing.engine_seconds, second.timing.engine_seconds) == (2.0, 3.0)
        second.close()
        assert second.timing.engine_seconds == 3.0


async def test_usage_comes_last_for_who_joins_late() -> None:
    async with cached(**SLOW) as world:
        first = await world.ask(greedy("a" * 100))
        for _ in range(50):
            await first.read()
        late = await world.ask(greedy("a" * 100))
        events = await events_of(late)
        assert usage_of(events).completion_tokens == 100
        assert events == [*await _begun(world)]
        first.close()
        late.close()


async def _begun(world: World) -> list[Event]:
    return await events_of(await world.ask(greedy("a" * 100)))


async def test_an_answer_of_while_a_model_was_loaded_is_not_kept() -> None:
    async with cached() as world:
        generation = await world.ask(greedy("hello"))
        world.changes += 1
        await events_of(generation)
        assert (await whole(world, "hello"))[0].cached.verdict == "miss"
        assert (await whole(world, "hello"))[0].cached.verdict == "hit"


async def test_an_answer_without_its_policy_is_not_kept() -> None:
    async with cached() as world:
        world.metadata = {"intent": "unavailable"}
        assert [(await whole(world))[0].cached.verdict for _ in range(2)] == ["miss", "miss"]
        world.metadata = {"intent": "lost card"}
        assert [(await whole(world))[0].cached.verdict for _ in range(2)] == ["miss", "hit"]


async def test_refused_requests_leave_nothing_to_the_garbage_collector() -> None:
    async with cached() as world:
        world.refusal = QueueFullError("full", 1.0)

        async def refused() -> None:
            with suppress(QueueFullError):
                await world.ask(greedy("hello"))

        assert await frames_left_by(lambda: asyncio.gather(refused(), refused()), "/service/cache") == []


async def test_whose_caller_left_is_closed_at_once_so_that_it_is_on_the_bill() -> None:
    async with cached(**SLOW) as world:
        only = await world.ask(greedy("a" * 20))
        await only.read()
        closed: list[bool] = []
        close = world.made[0].close
        world.made[0].close = lambda: closed.append(True) or close()  # type: ignore[method-assign, func-returns-value]
        only.close()
        assert closed
