"""A generator behind its queue: the echo model, real threads, no engine to wait for."""

import asyncio
import time

import pytest

from engines.text_generator import ChosenToken, GenerationRequest, TokenEvent
from service.errors import (
    DeadlineExceededError,
    DeadlineHopelessError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    QueueFullError,
    SlowReaderError,
)
from service.generation.replica import GeneratorReplica
from tests.service.generation.echoes import asking, echoing, events_of, finish_of, text_of, usage_of

ENDLESS = {"ignore_eos": True, "max_tokens": 8000}
POISON = "!"
BREAK_ON = 0
"""The id of "!" in the echo model's alphabet."""


def is_idle(replica: GeneratorReplica) -> bool:
    return not replica._admission.all() and replica._admission._tokens == 0


async def test_an_answer_comes_whole_with_its_end_and_its_usage() -> None:
    async with echoing() as replica:
        generation = await replica.generate(asking("héllo 你好 😀"))
        events = await events_of(generation)
        assert text_of(events) == "héllo 你好 😀"
        assert finish_of(events) == "stop"
        usage = usage_of(events)
        assert usage.prompt_tokens == usage.completion_tokens == len("héllo 你好 😀".encode())
        assert await generation.read() == ()
        assert 0 <= generation.timing.queue <= generation.timing.first_token
        assert generation.timing.engine_seconds > 0
        assert is_idle(replica)


async def test_max_tokens_ends_an_answer() -> None:
    async with echoing() as replica:
        events = await events_of(await replica.generate(asking("hello", max_tokens=3)))
        assert (text_of(events), finish_of(events)) == ("hel", "length")


async def test_a_stop_string_ends_an_answer_and_frees_its_place() -> None:
    async with echoing(generation__max_sequences=1) as replica:
        events = await events_of(await replica.generate(asking("abcdef", stop=("de",), **ENDLESS)))
        assert (text_of(events), finish_of(events)) == ("abc", "stop")
        assert text_of(await events_of(await replica.generate(asking("next")))) == "next"


async def test_several_answers_to_one_prompt_are_told_apart() -> None:
    async with echoing() as replica:
        events = await events_of(await replica.generate(asking("hello", n=3)))
        assert [text_of(events, index) for index in range(3)] == ["hello"] * 3
        assert [finish_of(events, index) for index in range(3)] == ["stop"] * 3
        usage = usage_of(events)
        assert (usage.prompt_tokens, usage.completion_tokens) == (5, 15)


async def test_a_caller_that_leaves_frees_its_place_for_the_next() -> None:
    async with echoing(generation__max_sequences=1) as replica:
        running = await replica.generate(asking("x", **ENDLESS))
        await running.read()
        queued, left = await replica.generate(asking("queued")), await replica.generate(asking("left"))
        left.close()
        running.close()
        assert text_of(await events_of(queued)) == "queued"
        assert await left.read() == ()
        assert is_idle(replica)


async def test_a_full_queue_says_when_to_come_back() -> None:
    async with echoing(generation__max_sequences=1, generation__max_waiting=1, echo__step_ms=1) as replica:
        running = await replica.generate(asking("x", **ENDLESS))
        while not await running.read():
            pass
        queued = await replica.generate(asking("queued"))
        with pytest.raises(QueueFullError) as refused:
            await replica.generate(asking("too many"))
        assert refused.value.retry_after > 0
        running.close()
        assert text_of(await events_of(queued)) == "queued"


async def test_more_answers_than_could_ever_wait_are_the_callers_fault() -> None:
    async with echoing(generation__max_sequences=2, generation__max_waiting=2) as replica:
        with pytest.raises(InvalidRequestError) as refused:
            await replica.generate(asking("x", n=5))
        assert refused.value.param == "n"


async def test_the_more_urgent_overtakes_in_the_queue() -> None:
    async with echoing(generation__max_sequences=1) as replica:
        running = await replica.generate(asking("x", **ENDLESS))
        later = await replica.generate(asking("later", priority=9))
        sooner = await replica.generate(asking("sooner", priority=1))
        order: list[str] = []

        async def follow(name: str, generation: object) -> None:
            await events_of(generation)  # type: ignore[arg-type]
            order.append(name)

        tasks = [asyncio.create_task(follow("later", later)), asyncio.create_task(follow("sooner", sooner))]
        running.close()
        await asyncio.gather(*tasks)
        assert order == ["sooner", "later"]


async def test_a_deadline_that_passes_ends_the_answer_and_frees_its_place() -> None:
    async with echoing(generation__max_sequences=1, echo__step_ms=1) as replica:
        generation = await replica.generate(asking("x", time.monotonic() + 0.2, **ENDLESS))
        with pytest.raises(DeadlineExceededError):
            await events_of(generation)
        assert text_of(await events_of(await replica.generate(asking("next")))) == "next"
        assert is_idle(replica)


async def test_a_deadline_passes_in_the_queue_too() -> None:
    async with echoing(generation__max_sequences=1, echo__step_ms=1) as replica:
        running = await replica.generate(asking("x", **ENDLESS))
        queued = await replica.generate(asking("queued", time.monotonic() + 0.05))
        with pytest.raises(DeadlineExceededError):
            await events_of(queued)
        running.close()


async def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    async with echoing(generation__max_sequences=1, echo__step_ms=20) as replica:
        await events_of(await replica.generate(asking("learn the pace")))
        running = await replica.generate(asking("x", **ENDLESS))
        await running.read()
        with pytest.raises(DeadlineHopelessError) as refused:
            await replica.generate(asking("hopeless", time.monotonic() + 0.005))
        assert refused.value.retry_after > 0
        running.close()


async def test_a_slow_reader_is_cut_off_and_others_never_wait() -> None:
    async with echoing(buffer=8, echo__step_ms=2) as replica:
        slow = await replica.generate(asking("x", **ENDLESS))
        quick = await replica.generate(asking("quick as can be, longer than the bound"))
        assert text_of(await events_of(quick)) == "quick as can be, longer than the bound"
        found = await slow.read()
        assert 8 < len(found) <= 10
        with pytest.raises(SlowReaderError):
            await slow.read()
        assert is_idle(replica)


class Counting:
    """In the place of echo's answer: each token follows from the one before it, so what resumes goes on exactly."""

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
        self.sent = 0
        self._last = int(request.prompt[-1])

    def next(self, request_id: int) -> TokenEvent:
        self._last = (self._last + 1) % 60 + 10
        self.sent += 1
        finish = "length" if self.sent == self.request.sampling.max_tokens else ""
        return TokenEvent(request_id, (ChosenToken(self._last),), finish)  # type: ignore[arg-type]


async def test_what_breaks_the_engine_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.echo._Answer", Counting)
    async with echoing(echo__break_on=BREAK_ON, echo__step_ms=1) as replica:
        texts = [f"neighbour of kind {chr(ord('a') + index)}" for index in range(4)]
        expected = [text_of(await events_of(await replica.generate(asking(text)))) for text in texts]
        assert len(set(expected)) == len(texts)
        neighbours = [await replica.generate(asking(text)) for text in texts]
        first = list(await neighbours[0].read())
        poison = await replica.generate(asking(POISON))
        more = [await replica.generate(asking(text)) for text in texts]
        with pytest.raises(EngineFailedError):
            await events_of(poison)
        assert [text_of(await events_of(generation)) for generation in more] == expected
        assert text_of(first + await events_of(neighbours[0])) == expected[0]
        assert [text_of(await events_of(generation)) for generation in neighbours[1:]] == expected[1:]
        assert is_idle(replica)
        assert replica.fault == ""


async def test_an_engine_that_is_lost_fails_all_and_says_so() -> None:
    async with echoing(echo__break_on=BREAK_ON) as replica:

        def fails() -> object:
            raise OSError("no such device")

        replica._worker._reopen = fails  # type: ignore[assignment]
        generation = await replica.generate(asking(POISON))
        with pytest.raises(ModelUnavailableError, match="no such device"):
            await events_of(generation)
        assert "no such device" in replica.fault
        with pytest.raises(ModelUnavailableError):
            await replica.generate(asking("hello"))


async def test_closing_answers_within_the_grace_and_fails_the_rest() -> None:
    async with echoing() as replica:
        short = await replica.generate(asking("short"))
        await replica.close(5)
        assert text_of(await events_of(short)) == "short"
    async with echoing(echo__step_ms=1) as replica:
        endless = await replica.generate(asking("x", **ENDLESS))
        await replica.close(0.05)
        with pytest.raises(ModelUnavailableError):
            await events_of(endless)
        assert is_idle(replica)
