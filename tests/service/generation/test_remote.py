"""A replica over another server: a real one, good and bad, in a process of its own (`tests/upstream_server.py`)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from engines import open_remote
from engines.generation import Chat, Delta, Event, Finish, GenerationCall, Message, Options, Tool, Usage
from service.errors import (
    BatchyardError,
    CallerGoneError,
    DeadlineExceededError,
    DeadlineHopelessError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    QueueFullError,
    RetryLaterError,
)
from service.generating import GenerateRequest, Generation
from service.generation.remote import RemoteReplica
from tests.upstream import Upstream, chat, options, text_of
from tests.upstream_server import ENDLESS

SHORT = 0.2
"""Seconds for what must run out of time."""


@pytest.fixture
async def replica(upstream: Upstream) -> AsyncIterator[RemoteReplica]:
    async with opened(upstream.url) as made:
        yield made


@asynccontextmanager
async def opened(url: str, **parameters: str) -> AsyncIterator[RemoteReplica]:
    given = options(url, **parameters)
    made = RemoteReplica("tiny:1", open_remote(given), given.config, asyncio.get_running_loop().time)
    try:
        yield made
    finally:
        await made.close(0.0)


def request(call: GenerationCall | str, deadline: float = float("inf"), **more: Any) -> GenerateRequest:
    return GenerateRequest("tiny", chat(call) if isinstance(call, str) else call, deadline=deadline, **more)


async def rest_of(generation: Generation) -> list[Event]:
    events: list[Event] = []
    while new := await generation.read():
        events += new
    generation.close()
    return events


async def failure(replica: RemoteReplica, asked: GenerateRequest) -> BatchyardError:
    with pytest.raises(BatchyardError) as caught:
        await replica.generate(asked)
    return caught.value


async def settled(replica: RemoteReplica) -> None:
    """Waits until all that ended is gone, tasks and connections too."""
    async with asyncio.timeout(10):
        while replica.predict(1).seconds or len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - the loop itself closes cut generators
            await asyncio.sleep(0)


async def test_an_answer(replica: RemoteReplica) -> None:
    generation = await replica.generate(request("hello world"))
    assert (generation.model, generation.version, generation.engine) == ("tiny", "1", "openai_upstream")
    events = await rest_of(generation)
    assert events == [Delta(0, "hello "), Delta(0, "world "), Finish(0, "stop"), Usage(7, 3)]
    assert generation.timing.first_token > 0
    assert generation.timing.per_token > 0
    assert await generation.read() == ()
    generation.close()
    await settled(replica)


async def test_no_answer_is_asked_for_by_infer(replica: RemoteReplica) -> None:
    with pytest.raises(InvalidRequestError, match="generates text"):
        await replica.infer(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("refused: 400", InvalidRequestError, "it is 400"),
        ("refused: 401", EngineFailedError, "wants a key"),
        ("refused: 500", EngineFailedError, "status 500"),
        ("refused: 504", DeadlineExceededError, "ran out of time"),
        ("vanish", ModelUnavailableError, "cannot be reached"),
        ("plain", EngineFailedError, "must stream"),
    ],
)
async def test_errors_before_the_first_event(
    replica: RemoteReplica, script: str, kind: type[BatchyardError], message: str
) -> None:
    error = await failure(replica, request(script))
    assert type(error) is kind
    assert message in str(error)
    await settled(replica)


async def test_a_busy_server_is_one_to_come_back_to(replica: RemoteReplica) -> None:
    error = await failure(replica, request("busy: retry-after=7"))
    assert isinstance(error, RetryLaterError)
    assert error.retry_after == 7


@pytest.mark.parametrize("script", ["cut", "cut: end", 'bad_event: {"error": "boom"}'])
async def test_errors_in_the_middle_come_behind_what_was_there(replica: RemoteReplica, script: str) -> None:
    generation = await replica.generate(request(script))
    assert await generation.read() == [Delta(0, "half ")]
    for _ in range(2):
        with pytest.raises(EngineFailedError):
            await generation.read()
    generation.close()
    await settled(replica)


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (chat("a", seed=1), "seed"),
        (chat("a", logprobs=0), "logprobs"),
        (chat("a", top_k=1), "top_k"),
        (chat("a", min_p=0.5), "min_p"),
        (chat("a", json_schema="{}"), "response_format"),
        (chat("a", logit_bias={1: 1.0}), "logit_bias"),
        (chat("a", presence_penalty=1.0), "presence_penalty"),
        (chat("a", frequency_penalty=1.0), "frequency_penalty"),
        (chat("a", repetition_penalty=1.1), "repetition_penalty"),
        (GenerationCall((Chat((Message("user", "a"),), (Tool("t"),)),)), "tools"),
    ],
)
async def test_what_the_server_cannot_do_is_refused(upstream: Upstream, call: GenerationCall, param: str) -> None:
    async with opened(upstream.url, upstream__features="none") as replica:
        error = await failure(replica, request(call))
        assert isinstance(error, InvalidRequestError)
        assert error.param == param
    assert (await upstream.state())["requests"] == 0


async def test_logprobs_of_others_are_a_feature_of_their_own(upstream: Upstream) -> None:
    async with opened(upstream.url, upstream__features="logprobs") as replica:
        error = await failure(replica, request(chat("logprobs", logprobs=1)))
        assert isinstance(error, InvalidRequestError)
        assert error.param == "top_logprobs"
        assert text_of(await rest_of(await replica.generate(request(chat("logprobs", logprobs=0))))) == "Hi"


@pytest.mark.parametrize("script", ["hang: before", "hang: middle", "trickle"])
async def test_the_deadline_ends_it(replica: RemoteReplica, upstream: Upstream, script: str) -> None:
    deadline = asyncio.get_running_loop().time() + SHORT
    with pytest.raises(DeadlineExceededError):
        await rest_of(await replica.generate(request(script, deadline)))
    await upstream.until(lambda state: not state["running"])
    await settled(replica)


async def test_the_deadline_ends_what_nobody_reads(replica: RemoteReplica, upstream: Upstream) -> None:
    generation = await replica.generate(request("flood", asyncio.get_running_loop().time() + 8 * SHORT))
    await upstream.until(lambda state: state["disconnects"] == 1)
    assert len(await generation.read()) == 1
    with pytest.raises(DeadlineExceededError):
        await generation.read()
    await settled(replica)


async def test_a_deadline_that_has_passed(replica: RemoteReplica, upstream: Upstream) -> None:
    error = await failure(replica, request("a", asyncio.get_running_loop().time() - 1))
    assert isinstance(error, DeadlineExceededError)
    assert (await upstream.state())["requests"] == 0


async def test_the_time_left_is_told_upstream(replica: RemoteReplica, upstream: Upstream) -> None:
    await rest_of(await replica.generate(request("a", asyncio.get_running_loop().time() + 30)))
    assert 0 < int((await upstream.state())["headers"]["x-deadline-ms"]) <= 30_000


async def test_closing_ends_it_upstream_at_once(replica: RemoteReplica, upstream: Upstream) -> None:
    generation = await replica.generate(request("trickle"))
    await generation.read()
    generation.close()
    generation.close()
    assert replica.predict(1).seconds == 0, "its place is free before the connection is closed"
    await upstream.until(lambda state: not state["running"] and state["disconnects"] == 1)
    assert await generation.read() == ()
    await settled(replica)


async def test_closing_under_a_reader(replica: RemoteReplica, upstream: Upstream) -> None:
    generation = await replica.generate(request("hang: middle"))
    await generation.read()
    reader = asyncio.create_task(generation.read())
    await asyncio.sleep(0)
    generation.close()
    with pytest.raises(CallerGoneError):
        await reader
    await upstream.until(lambda state: not state["running"])
    await settled(replica)


async def test_a_caller_that_leaves_while_it_waits(replica: RemoteReplica, upstream: Upstream) -> None:
    task = asyncio.create_task(replica.generate(request("hang: before")))
    await upstream.until(lambda state: state["running"] == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert replica.predict(1).seconds == 0
    await upstream.until(lambda state: not state["running"])
    await settled(replica)


async def test_a_reader_that_gives_up_loses_nothing(replica: RemoteReplica) -> None:
    """So that one can wait for the next events for a while, and send a heartbeat in between."""
    generation = await replica.generate(request(" ".join(map(str, range(500)))))
    events: list[Event] = []
    while True:
        reader = asyncio.create_task(generation.read())
        await asyncio.sleep(0)
        reader.cancel()
        done = (await asyncio.gather(reader, return_exceptions=True))[0]
        if isinstance(done, asyncio.CancelledError):
            done = await generation.read()
        assert not isinstance(done, BaseException)
        if not done:
            break
        events += done
    assert text_of(events) == "".join(f"{number} " for number in range(500))
    assert events[-1] == Usage(7, 3)


async def test_the_end_that_comes_while_nobody_reads_is_not_lost(replica: RemoteReplica) -> None:
    generation = await replica.generate(request("no_done"))
    assert await generation.read() == [Delta(0, "word"), Finish(0, "stop")]
    reader = asyncio.create_task(generation.read())
    await asyncio.sleep(0)
    reader.cancel()
    await settled(replica)
    assert [*await generation.read()] == [Usage(0, 1)]
    assert await generation.read() == ()


async def test_nothing_is_read_that_nobody_reads(replica: RemoteReplica, upstream: Upstream) -> None:
    generation = await replica.generate(request("flood"))
    await upstream.until(lambda state: state["blocked"])
    assert await upstream.until_still("sent") < ENDLESS / 2
    assert len(text_of(await rest_of(generation))) == ENDLESS
    await settled(replica)


async def test_answers_at_once_and_in_the_queue_are_bounded(upstream: Upstream) -> None:
    async with opened(upstream.url, generation__max_sequences="2", generation__max_waiting="1") as replica:
        running = [await replica.generate(request("trickle")) for _ in range(2)]
        waiting = asyncio.create_task(replica.generate(request("waited")))
        await asyncio.sleep(0)
        assert replica.waiting == 1
        assert replica.predict(1).seconds == pytest.approx(1.5)
        error = await failure(replica, request("too many"))
        assert isinstance(error, QueueFullError)
        assert error.retry_after > 0
        assert (await upstream.state())["requests"] == 2
        running[0].close()
        assert text_of(await rest_of(await waiting)) == "waited "
        running[1].close()
        await settled(replica)


async def test_answers_are_counted_not_requests(upstream: Upstream) -> None:
    async with opened(upstream.url, generation__max_sequences="2", generation__max_waiting="1") as replica:
        error = await failure(replica, request(GenerationCall(("a", "b"), Options(n=2))))
        assert isinstance(error, InvalidRequestError)
        assert error.param == "n"
        events = await rest_of(await replica.generate(request(GenerationCall(("a", "b", "c")))))
        assert [text_of(events, index) for index in range(3)] == ["a ", "b ", "c "]


async def test_a_caller_leaves_the_queue(upstream: Upstream) -> None:
    async with opened(upstream.url, generation__max_sequences="1") as replica:
        running = await replica.generate(request("trickle"))
        gone, stays = [asyncio.create_task(replica.generate(request(name))) for name in ("gone", "stays")]
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert replica.waiting == 1
        running.close()
        assert text_of(await rest_of(await stays)) == "stays "
        await settled(replica)


async def test_the_urgent_overtake_in_the_queue(upstream: Upstream) -> None:
    async with opened(upstream.url, generation__max_sequences="1") as replica:
        running = await replica.generate(request("trickle"))
        later = asyncio.create_task(replica.generate(request("later", priority=2)))
        await asyncio.sleep(0)
        sooner = asyncio.create_task(replica.generate(request("sooner", priority=1)))
        await asyncio.sleep(0)
        running.close()
        first = await sooner
        assert not later.done()
        await rest_of(first)
        await rest_of(await later)


async def test_deadlines_in_the_queue(upstream: Upstream) -> None:
    clock = asyncio.get_running_loop().time
    async with opened(upstream.url, generation__max_sequences="64") as replica:
        running = [await replica.generate(request("trickle")) for _ in range(64)]
        error = await failure(replica, request("a", clock() + 0.001))
        assert isinstance(error, DeadlineHopelessError), "64 at once, a second each: one is free in a 64th"
        assert isinstance(await failure(replica, request("a", clock() + SHORT)), DeadlineExceededError)
        for one in running:
            one.close()
        await settled(replica)


async def test_closing_the_replica_answers_what_it_holds(upstream: Upstream) -> None:
    async with opened(upstream.url, generation__max_sequences="1") as replica:
        first = await replica.generate(request("one two"))
        second = asyncio.create_task(replica.generate(request("three")))
        await asyncio.sleep(0)
        closing = asyncio.create_task(replica.close(30.0))
        await asyncio.sleep(0)
        assert isinstance(await failure(replica, request("late")), ModelUnavailableError)
        assert text_of(await rest_of(first)) == "one two "
        assert text_of(await rest_of(await second)) == "three "
        await closing


async def test_closing_the_replica_ends_what_takes_too_long(upstream: Upstream) -> None:
    async with opened(upstream.url, generation__max_sequences="2") as replica:
        unread = await replica.generate(request("trickle"))
        read = await replica.generate(request("hang: middle"))
        await read.read()
        reader = asyncio.create_task(read.read())
        queued = asyncio.create_task(replica.generate(request("never")))
        await asyncio.sleep(0)
        await replica.close(0.0)
        for waiter in (reader, queued, asyncio.create_task(rest_of(unread))):
            with pytest.raises(ModelUnavailableError, match="was unloaded before the answer was complete"):
                await waiter
        await upstream.until(lambda state: not state["running"] and state["open"] == 1)
        assert (await upstream.state())["requests"] == 2


async def test_requests_that_end_in_every_way_leave_nothing_behind(upstream: Upstream) -> None:
    scripts = ("a b", "cut", "cut: end", "vanish", "refused: 400", "busy", "trickle", "hang: before", "hang: middle")
    async with opened(upstream.url, generation__max_sequences="5", generation__max_waiting="99") as replica:
        clock = asyncio.get_running_loop().time

        async def ask(number: int) -> None:
            asked = request(scripts[number % len(scripts)], clock() + SHORT + number / 1000)
            try:
                await rest_of(await replica.generate(asked))
            except BatchyardError:
                await rest_of(await replica.generate(replace(asked, call=chat("again"), deadline=float("inf"))))

        tasks = [asyncio.create_task(ask(number)) for number in range(90)]
        for number, task in enumerate(tasks):
            if number % 4 == 0:
                await asyncio.sleep(0)
                task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError | BatchyardError)
        await settled(replica)
        await upstream.until(lambda state: not state["running"])
