"""Another server, good and bad, over real sockets: `tests/upstream_server.py` in a process of its own."""

import asyncio
import logging
import math
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines import open_remote
from engines.errors import (
    EngineBusyError,
    EngineError,
    EngineRefusedError,
    EngineTimeoutError,
    EngineUnreachableError,
    ExecutionError,
    InvalidInputError,
    ModelLoadError,
)
from engines.generation import (
    Chat,
    Delta,
    Finish,
    GenerationCall,
    Message,
    Options,
    RemoteGenerator,
    TokenLogprob,
    Tool,
    ToolCallDelta,
    Usage,
)
from tests.upstream import Upstream, all_events, chat, options, text_of
from tests.upstream_server import ENDLESS, PIECE, TEXT

KEY = "sk-test-0123456789"
LONG = 60.0
SHORT = 0.2
"""Seconds for what must run out of time."""


@pytest.fixture
async def remote(upstream: Upstream) -> AsyncIterator[RemoteGenerator]:
    made = open_remote(options(upstream.url))
    await made.open()
    yield made
    await made.close()


async def failure(remote: RemoteGenerator, call: GenerationCall, seconds: float = LONG) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await all_events(remote.stream(call, seconds))
    return caught.value


async def test_a_chat(remote: RemoteGenerator, upstream: Upstream) -> None:
    events = await all_events(remote.stream(chat("hello big world", seed=3), LONG))
    assert events == [Delta(0, "hello "), Delta(0, "big "), Delta(0, "world "), Finish(0, "stop"), Usage(7, 3)]
    state = await upstream.state()
    assert state["path"] == "/v1/chat/completions"
    assert state["body"]["model"] == "tiny"
    assert state["body"]["seed"] == 3
    assert 0 < int(state["headers"]["x-deadline-ms"]) <= 1000 * LONG
    assert "authorization" not in state["headers"]


async def test_several_prompts_and_answers(remote: RemoteGenerator, upstream: Upstream) -> None:
    call = GenerationCall(("one two", "three"), Options(n=2))
    events = await all_events(remote.stream(call, math.inf))
    assert [text_of(events, index) for index in range(4)] == ["one two ", "one two ", "three ", "three "]
    assert [event.index for event in events if isinstance(event, Finish)] == [0, 1, 2, 3]
    state = await upstream.state()
    assert state["path"] == "/v1/completions"
    assert "x-deadline-ms" not in state["headers"]


async def test_token_ids(remote: RemoteGenerator) -> None:
    events = await all_events(remote.stream(GenerationCall((np.array([5, 6]),)), LONG))
    assert text_of(events) == "[5, 6] "


async def test_an_echo_is_written_here(remote: RemoteGenerator, upstream: Upstream) -> None:
    events = await all_events(remote.stream(GenerationCall(("a b",), Options(echo=True)), LONG))
    assert events[:2] == [Delta(0, "a b"), Delta(0, "a ")]
    assert "echo" not in (await upstream.state())["body"]


async def test_bytes_one_by_one_with_heartbeats_and_carriage_returns(remote: RemoteGenerator) -> None:
    events = await all_events(remote.stream(chat("bytes_apart"), LONG))
    assert events == [Delta(0, TEXT), Finish(0, "length"), Usage(0, 1)]


async def test_reasoning_tool_calls_and_details_of_the_usage(remote: RemoteGenerator) -> None:
    assert await all_events(remote.stream(chat("rich"), LONG)) == [
        Delta(0, reasoning="hm"),
        Delta(0, reasoning="..."),
        Delta(0, tool_calls=(ToolCallDelta(0, id="c1", name="pay"),)),
        Delta(0, tool_calls=(ToolCallDelta(0, '{"eur":'),)),
        Delta(0, tool_calls=(ToolCallDelta(0, "5}"),)),
        Delta(0, tool_calls=(ToolCallDelta(1, "{}", "c2", "ask"),)),
        Finish(0, "tool_calls"),
        Usage(7, 3, cached_tokens=4, reasoning_tokens=2),
    ]


async def test_logprobs_of_a_chat(remote: RemoteGenerator) -> None:
    events = await all_events(remote.stream(chat("logprobs", logprobs=1), LONG))
    hi, half = TokenLogprob("Hi", b"Hi", -0.25), TokenLogprob("\ufffd", b"\xe4", -1.5)
    mark = TokenLogprob("\ufffd", "\ufffd".encode(), -1.5)
    both = (replace(hi, top=(hi,)), replace(half, top=(mark,)))
    assert events == [Delta(0, "Hi", logprobs=both), Finish(0, "stop"), Usage(0, 2)]
    alone = await all_events(remote.stream(chat("logprobs", logprobs=0), LONG))
    assert alone[0] == Delta(0, "Hi", logprobs=(hi, half))
    assert (await all_events(remote.stream(chat("logprobs"), LONG)))[0] == Delta(0, "Hi")


async def test_logprobs_of_a_plain_completion(remote: RemoteGenerator) -> None:
    events = await all_events(remote.stream(GenerationCall(("logprobs",), Options(logprobs=2)), LONG))
    delta = events[0]
    assert isinstance(delta, Delta)
    first, second = delta.logprobs
    assert (first.token, first.top) == ("Hi", ())
    assert math.isnan(first.logprob)
    mark = TokenLogprob("\ufffd", "\ufffd".encode(), -1.5)
    assert second == TokenLogprob("\ufffd", "\ufffd".encode(), -1.5, (mark, TokenLogprob("a", b"a", -3.0)))


async def test_a_tool_that_must_be_called_is_called_or_its_absence_told(remote: RemoteGenerator) -> None:
    """llama.cpp answers with text where a model's chat template knows no tools."""

    def asked(text: str) -> GenerationCall:
        return GenerationCall((Chat((Message("user", text),), (Tool("pay"),), "required"),))

    assert Finish(0, "tool_calls") in await all_events(remote.stream(asked("rich"), LONG))
    assert "called no tool, though one was required" in str(await failure(remote, asked("just text")))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "stop"),
    ],
)
async def test_reasons_to_finish(remote: RemoteGenerator, said: str, reason: str) -> None:
    events = await all_events(remote.stream(chat(f"finish: {said}"), LONG))
    assert [event.reason for event in events if isinstance(event, Finish)] == [reason]


async def test_an_answer_that_the_server_gave_up(remote: RemoteGenerator) -> None:
    assert "gave the answer up (abort)" in str(await failure(remote, chat("finish: abort")))


async def test_an_end_without_done_is_an_end(remote: RemoteGenerator) -> None:
    assert await all_events(remote.stream(chat("no_done"), LONG)) == [Delta(0, "word"), Finish(0, "stop"), Usage(0, 1)]


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("refused: 400", InvalidInputError, "it is 400 for <>"),
        ("refused: 404", ExecutionError, "it is 404 for <>"),
        ("refused: 422", InvalidInputError, "it is 422 for <>"),
        ('refused_with: {"detail": [{"msg": "no n"}, {"msg": "no m"}]}', InvalidInputError, "no n; no m"),
        ('refused_with: {"object": "error", "message": "flat"}', InvalidInputError, "flat"),
        ("refused_with: plain words", InvalidInputError, "plain words"),
        ("refused_with: {}", InvalidInputError, "Bad Request"),
        ("refused: 401", EngineRefusedError, "it wants a key: name the variable"),
        ("refused: 403", EngineRefusedError, "it wants a key: name the variable"),
        ("refused: 500", ExecutionError, "failed with status 500: it is 500"),
        ("refused: 503", ExecutionError, "failed with status 503"),
        ("refused: 504", EngineTimeoutError, "ran out of time"),
        ("refused: 302", ExecutionError, "failed with status 302"),
        ("busy", EngineBusyError, "busy: full"),
        ("plain", ExecutionError, "answered with application/json; it must stream text/event-stream"),
        ("vanish", EngineUnreachableError, "cannot be reached: Server disconnected"),
        ("cut", ExecutionError, "broke off its answer"),
        ("cut: end", ExecutionError, "ended in the middle"),
        ("cut: done", ExecutionError, "ended in the middle"),
        ("long_line", ExecutionError, "an event of more than"),
        ("bad_event: {", ExecutionError, "a chunk that cannot be read"),
        ('bad_event: {"choices": 3}', ExecutionError, "a chunk that cannot be read: .* `array"),
        ('bad_event: {"choices": [{"index": 9}]}', ExecutionError, "answer number 9, for which nobody asked"),
        ('bad_event: {"error": {"message": "boom", "type": "server_error"}}', ExecutionError, "boom"),
        ('bad_event: {"error": {"message": "long", "code": 400}}', InvalidInputError, "long"),
        ('bad_event: {"error": {"message": "m", "type": "BadRequestError"}}', InvalidInputError, "m"),
        ('bad_event: {"error": {"message": "m", "code": "rate_limit_exceeded"}}', EngineBusyError, "m"),
        ('bad_event: {"object": "error", "message": "flat"}', ExecutionError, "flat"),
        ('bad_event: {"error": "just text"}', ExecutionError, "just text"),
    ],
)
async def test_errors(remote: RemoteGenerator, script: str, kind: type[EngineError], message: str) -> None:
    error = await failure(remote, chat(script))
    assert type(error) is kind
    with pytest.raises(kind, match=message):
        raise error
    assert "127.0.0.1" not in str(error), "callers read it; where the server is is not theirs to know"


async def test_a_key_that_is_wrong_is_not_tried_again(remote: RemoteGenerator) -> None:
    assert not (await failure(remote, chat("refused: 401"))).retryable


async def test_what_came_before_an_error_is_not_lost(remote: RemoteGenerator) -> None:
    stream = remote.stream(chat('bad_event: {"error": "boom"}'), LONG)
    assert await anext(stream) == [Delta(0, "half ")]
    with pytest.raises(ExecutionError, match="boom"):
        await anext(stream)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 1.0),
        ("retry-after=7", 7.0),
        ("retry-after-ms=1500", 1.5),
        ("retry-after=Wed, 21 Oct 2015 07:28:00 GMT", 0.001),
        ("retry-after=soon", 1.0),
        ("503 / retry-after=3", 3.0),
    ],
)
async def test_a_busy_server_says_for_how_long(remote: RemoteGenerator, header: str, seconds: float) -> None:
    error = await failure(remote, chat(f"busy: {header}"))
    assert isinstance(error, EngineBusyError)
    assert error.retry_after == seconds


@pytest.mark.parametrize("when", ["before", "middle"])
async def test_time_runs_out(remote: RemoteGenerator, upstream: Upstream, when: str) -> None:
    error = await failure(remote, chat(f"hang: {when}"), SHORT)
    assert isinstance(error, EngineTimeoutError)
    state = await upstream.until(lambda state: not state["running"])
    assert state["disconnects"] == 1


async def test_nobody_listens() -> None:
    remote = open_remote(options(f"http://127.0.0.1:{free_port()}/v1"))
    assert isinstance(await failure(remote, chat("hi")), EngineUnreachableError)
    await remote.close()


async def test_a_connection_that_is_never_taken_is_given_up_before_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        full = [socket.socket() for _ in range(4)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(address)
        remote = open_remote(options(f"http://127.0.0.1:{address[1]}/v1", upstream__connect_timeout_ms="200"))
        error = await failure(remote, chat("hi"))
        assert isinstance(error, EngineUnreachableError)
        assert "it took no connection in time" in str(error)
        for one in full:
            one.close()
        await remote.close()


@pytest.mark.parametrize("read", [0, 1, 5])
async def test_leaving_ends_the_request_upstream(remote: RemoteGenerator, upstream: Upstream, read: int) -> None:
    stream = remote.stream(chat("trickle"), LONG)
    for _ in range(read):
        await anext(stream)
    await stream.aclose()
    state = await upstream.until(lambda state: not state["running"])
    assert state["disconnects"] == min(read, 1)
    assert state["requests"] == min(read, 1)


@pytest.mark.parametrize("script", ["hang: before", "hang: middle", "trickle"])
async def test_cancelling_a_reader_ends_the_request_upstream(
    remote: RemoteGenerator, upstream: Upstream, script: str
) -> None:
    task = asyncio.create_task(all_events(remote.stream(chat(script), LONG)))
    await upstream.until(lambda state: state["running"] == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await upstream.until(lambda state: not state["running"] and state["disconnects"] == 1)


async def test_nothing_is_read_ahead_of_the_reader(remote: RemoteGenerator, upstream: Upstream) -> None:
    stream = remote.stream(chat("flood"), LONG)
    read = sum(len(event.text) for event in await anext(stream) if isinstance(event, Delta))
    await upstream.until(lambda state: state["blocked"])
    sent = await upstream.until_still("sent")
    assert (await upstream.state())["blocked"]
    assert sent < ENDLESS / 2, "the socket's buffers hold some, we none"
    async for events in stream:
        read += sum(len(event.text) for event in events if isinstance(event, Delta))
    assert read == ENDLESS
    assert read % len(PIECE) == 0


async def test_one_connection_serves_request_after_request(remote: RemoteGenerator, upstream: Upstream) -> None:
    before = (await upstream.state())["connections"]
    for script in ("a", "refused: 400", "busy", "no_done", "rich"):
        try:
            await all_events(remote.stream(chat(script), LONG))
        except EngineError:
            continue
    state = await upstream.state()
    assert state["requests"] == 5
    assert state["connections"] - before == 1, "the one that asks for the state"


async def test_a_connection_that_the_server_has_closed_is_not_the_callers_trouble(
    remote: RemoteGenerator, upstream: Upstream
) -> None:
    for _ in range(5):
        assert text_of(await all_events(remote.stream(chat("only_first"), LONG))) == "word"
    assert (await upstream.state())["requests"] > 5


async def test_a_new_connection_that_fails_is_not_tried_again(remote: RemoteGenerator, upstream: Upstream) -> None:
    assert isinstance(await failure(remote, chat("vanish")), EngineUnreachableError)
    await upstream.reset()
    assert isinstance(await failure(remote, chat("vanish")), EngineUnreachableError)
    assert (await upstream.state())["requests"] == 1


@pytest.mark.parametrize("connections", [3, 100])
async def test_a_hundred_cut_at_random_leave_nothing_behind(upstream: Upstream, connections: int) -> None:
    remote = open_remote(options(upstream.url, upstream__max_connections=str(connections)))
    random = np.random.default_rng(4)
    scripts = ("trickle", "hang: before", "hang: middle", "flood", "bytes_apart", "only_first", "cut")
    calls = [chat(str(random.choice(scripts))) for _ in range(100)]
    # Some run out of time at the moment they are cancelled, and cancelled again.
    seconds = [float(random.choice([LONG, 0.001, 0.01, 0.05])) for _ in calls]
    tasks = [asyncio.create_task(all_events(remote.stream(*both))) for both in zip(calls, seconds, strict=True)]
    for task in random.permutation(np.array(tasks)):
        for _ in range(int(random.integers(0, 20))):
            await asyncio.sleep(0)
        task.cancel()
        asyncio.get_running_loop().call_soon(task.cancel)
    await asyncio.gather(*tasks, return_exceptions=True)
    await upstream.until(lambda state: not state["running"])
    every = [remote.stream(chat("trickle"), LONG) for _ in range(connections)]
    assert all(await asyncio.gather(*(anext(one) for one in every))), "as many as before may run at once"
    await asyncio.gather(*(one.aclose() for one in every))
    await remote.close()
    await upstream.until(lambda state: state["open"] == 1)
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - cut generators are closed by the loop
            await asyncio.sleep(0)


async def test_more_requests_than_connections_wait_for_one(upstream: Upstream) -> None:
    remote = open_remote(options(upstream.url, upstream__max_connections="1"))
    first = remote.stream(chat("trickle"), LONG)
    await anext(first)
    assert isinstance(await failure(remote, chat("hi"), SHORT), EngineTimeoutError)
    second = asyncio.create_task(all_events(remote.stream(chat("hi"), LONG)))
    await first.aclose()
    assert text_of(await second) == "hi "
    await remote.close()


async def test_closed_is_closed(remote: RemoteGenerator) -> None:
    stream = remote.stream(chat("trickle"), LONG)
    await anext(stream)
    await remote.close()
    await remote.close()
    with pytest.raises(ExecutionError):
        await all_events(stream)
    assert "is closed" in str(await failure(remote, chat("hi")))


async def test_the_key_is_sent_and_never_shown(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    remote = open_remote(options(upstream.url, upstream__api_key_env="UPSTREAM_KEY"))
    await remote.open()
    for script in ("refused: 401", "refused: 400", "refused: 500"):
        error = await failure(remote, chat(script))
        assert "<Bearer ***>" in str(error)
        assert KEY not in repr(error)
    assert "the key in UPSTREAM_KEY is wrong" in str(await failure(remote, chat("refused: 401")))
    assert (await upstream.state())["headers"]["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text
    await remote.close()


@pytest.mark.parametrize(
    ("path", "model", "message"),
    [
        ("/v1", "tiney", "has no model 'tiney', but 'tiny', 'other'; set batchyard.upstream.model"),
        ("/v2", "tiny", "Not Found; check that the server runs and that batchyard.upstream.url, 'http"),
        ("/locked", "tiny", "it wants a key"),
        ("/odd", "tiny", "is no list of models"),
    ],
)
async def test_opening_says_what_is_wrong(upstream: Upstream, path: str, model: str, message: str) -> None:
    remote = open_remote(options(f"{upstream.root}{path}", upstream__model=model))
    with pytest.raises(ModelLoadError) as caught:
        await remote.open()
    assert str(caught.value).startswith("model 'tiny': ")
    assert message in str(caught.value)


async def test_opening_where_nobody_listens() -> None:
    remote = open_remote(options(f"http://127.0.0.1:{free_port()}/v1"))
    with pytest.raises(ModelLoadError, match=r"cannot be reached: .*; check that the server runs"):
        await remote.open()


async def test_proxies_of_the_environment_are_not_used(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    remote = open_remote(options(upstream.url))
    await remote.open()
    await remote.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: Any = listener.getsockname()[1]
    return int(port)
