"""Streams over sockets: heads, heartbeats, errors before and after the start, callers that leave, slow readers."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.api import Limits, mount
from service.api.sse import EventWriter
from tests.service.api.models import TestGateway
from tests.service.api.serving import Address, serve
from tests.service.api.streams import events_of, open_stream
from tests.service.api.talkers import TEXT
from tests.service.api.test_disconnect import PATIENCE, post

CHAT = "/v1/chat/completions"
PATHS = (CHAT, "/v1/completions", "/v2/models/{model}/generate_stream")


def ask(model: str, path: str = CHAT, **changes: Any) -> tuple[str, dict[str, Any]]:
    """The path and body of a streamed request for `TEXT`."""
    if path == CHAT:
        return path, {"model": model, "messages": [{"role": "user", "content": TEXT}], "stream": True} | changes
    if "generate" in path:
        return path.format(model=model), {"text_input": TEXT} | changes
    return path, {"model": model, "prompt": TEXT, "stream": True} | changes


def stream(http: httpx.Client, model: str, path: str = CHAT) -> httpx.Response:
    where, body = ask(model, path)
    return http.post(where, json=body)


@pytest.fixture(scope="module")
def nervous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestGateway, httpx.Client]]:
    """A server whose heart beats every 20 ms."""
    gateway = TestGateway(tmp_path_factory.mktemp("models"))
    app = FastAPI()
    mount(app, gateway, Limits(heartbeat=0.02))  # type: ignore[arg-type]
    with serve(app) as address, httpx.Client(base_url=address.url, timeout=30) as client:
        yield gateway, client


@pytest.mark.parametrize("path", PATHS)
def test_the_head(http: httpx.Client, path: str) -> None:
    where, body = ask("pipeline", path)
    answer = http.post(where, json=body, headers={"x-request-id": "mine"})
    assert answer.status_code == 200
    wanted = {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
        "x-request-id": "mine",
        "x-model": "pipeline:2",
        "x-engine": "talker",
        "x-queue-ms": "1.500",
        "x-ttft-ms": "25.000",
        "x-batchyard-intent": "card_arrival",
        "x-batchyard-confidence": "0.97",
        "x-batchyard-note": "gr%C3%BCn%0D%0A100%25",
    }
    assert {name: answer.headers[name] for name in wanted} == wanted


@pytest.mark.parametrize("path", PATHS)
def test_the_last_comment_has_the_timings(http: httpx.Client, path: str) -> None:
    events = events_of(stream(http, "echo", path).text)
    done = [] if "generate" in path else ["data: [DONE]"]
    predicted = "predicted_ms=20.000 predicted_p95_ms=50.000"
    tokens = "prompt_tokens=7 cached_tokens=3 completion_tokens=5"
    timings = f": queue_ms=1.500 ttft_ms=25.000 tpot_ms=2.000 {predicted} {tokens}"
    assert events[-1 - len(done) :] == [timings, *done]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", ["echo", "at_once"])
def test_every_event_is_whole_characters(http: httpx.Client, path: str, model: str) -> None:
    where, body = ask(model, path)
    with http.stream("POST", where, json=body) as response:
        for part in response.iter_raw():
            for event in events_of(part.decode()):
                if event.startswith("data: {"):
                    json.loads(event.removeprefix("data: "))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("unknown", 404, "no model 'unknown'"),
        ("full", 429, "holds 10 requests"),
        ("down", 503, "restarting"),
        ("breaks_at_once", 500, "out of order"),
    ],
)
def test_an_error_before_the_first_token_has_its_status(
    http: httpx.Client, path: str, model: str, status: int, words: str
) -> None:
    answer = stream(http, model, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert words in answer.text
    assert ("retry-after-ms" in answer.headers) is (status == 429)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("breaks", "engine_failed", "the engine failed: out of order"),
        ("slow_reader", "slow_reader", "read faster"),
        ("crashes", "internal_error", "internal error; the server's log has it under request id"),
        ("stops_short", "engine_failed", "ended an answer without saying so"),
    ],
)
def test_an_error_after_the_first_token_is_the_last_event(
    http: httpx.Client, path: str, model: str, code: str, words: str
) -> None:
    answer = stream(http, model, path)
    assert answer.status_code == 200
    events = events_of(answer.text)
    assert "so far" in events[-2]
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    if "generate" in path:
        assert words in error
    else:
        assert words in error["message"]
        assert (error["code"], error["param"]) == (code, None)


def test_a_quiet_stream_starts_with_a_heartbeat(nervous: tuple[TestGateway, httpx.Client]) -> None:
    gateway, http = nervous
    with open_stream(http, *ask("waits")) as (response, lines):
        assert response.headers["x-model"] == "waits:2"
        assert "x-ttft-ms" not in response.headers
        assert [next(lines) for _ in range(3)] == [": heartbeat"] * 3
        gateway.talker.go_on()
        assert next(line for line in lines if line != ": heartbeat").startswith("data: {")
        assert next(line for line in lines if line.startswith(":")) == ": heartbeat"


def test_an_error_after_a_heartbeat_is_an_event(nervous: tuple[TestGateway, httpx.Client]) -> None:
    gateway, http = nervous
    path, body = ask("waits")
    with http.stream("POST", path, json=body, headers={"x-deadline-ms": "60000"}) as response:
        lines = (line for line in response.iter_lines() if line)
        assert next(lines) == ": heartbeat"
        gateway.talker.fail_next()
        last = [line for line in lines if line != ": heartbeat"]
    assert json.loads(last[0].removeprefix("data: "))["error"]["code"] == "engine_failed"
    assert len(last) == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", ["mute", "stuck"])
def test_a_caller_that_leaves_ends_the_generation(
    address: Address, gateway: TestGateway, path: str, model: str
) -> None:
    with address.connect() as connection:
        connection.sendall(post(*ask(model, path)))
        assert gateway.asked.acquire(timeout=PATIENCE)
    assert gateway.cancelled.acquire(timeout=PATIENCE), "the generation went on after the caller left"


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v2/models/{model}/generate"])
def test_a_caller_that_leaves_a_whole_answer_ends_the_generation(
    address: Address, gateway: TestGateway, path: str
) -> None:
    where, body = ask("mute", path)
    with address.connect() as connection:
        connection.sendall(post(where, body | ({} if "generate" in path else {"stream": False})))
        assert gateway.asked.acquire(timeout=PATIENCE)
    assert gateway.cancelled.acquire(timeout=PATIENCE), "the generation went on after the caller left"


def test_all_generations_are_closed(http: httpx.Client, gateway: TestGateway) -> None:
    before = gateway.talker.open
    for model in ("echo", "breaks", "crashes", "stops_short"):
        for path in (*PATHS, "/v2/models/{model}/generate"):
            stream(http, model, path)
        where, body = ask(model)
        http.post(where, json=body | {"stream": False})
    assert gateway.talker.open == before


def test_the_read_timeout_is_no_deadline_of_a_stream(http: httpx.Client, gateway: TestGateway) -> None:
    path, body = ask("echo")
    before = gateway.clock()
    http.post(path, json=body, headers={"x-stainless-read-timeout": "5"}).raise_for_status()
    assert gateway.talker.last is not None
    assert gateway.talker.last.deadline >= before + 600
    http.post(path, json=body, headers={"x-stainless-read-timeout": "5", "x-deadline-ms": "9000"}).raise_for_status()
    assert before + 9 <= gateway.talker.last.deadline <= gateway.clock() + 9
    http.post(path, json=body | {"stream": False}, headers={"x-stainless-read-timeout": "5"}).raise_for_status()
    assert before + 5 <= gateway.talker.last.deadline <= gateway.clock() + 5


class Wire:
    """An ASGI `send` that keeps what was sent, and blocks while `open` is not set; `held_up` tells that it did."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()
        self.held_up = asyncio.Event()

    async def __call__(self, message: Any) -> None:
        if not self.open.is_set():
            self.held_up.set()
            await self.open.wait()
        self.sent.append(message)

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent if message["type"] == "http.response.body"]


async def test_heartbeats_and_events_never_overlap() -> None:
    """A heartbeat is on its way, held up by the connection, when an event comes: the event waits for it."""
    wire = Wire()
    wire.open.clear()
    writer = EventWriter(wire, list, 0.001)
    await wire.held_up.wait()
    event = asyncio.create_task(writer.write(b"data: 1\n\n"))
    await asyncio.sleep(0)
    wire.open.set()
    await event
    await writer.finish(b"data: 2\n\n")
    writer.close()
    assert [message["type"] for message in wire.sent].count("http.response.start") == 1
    assert wire.sent[0]["type"] == "http.response.start"
    assert [body for body in wire.bodies if body != b": heartbeat\n\n"] == [b"data: 1\n\n", b"data: 2\n\n"]
    assert wire.bodies[0] == b": heartbeat\n\n"
    assert "more_body" not in wire.sent[-1]


async def test_no_heartbeat_waits_behind_a_slow_reader() -> None:
    wire = Wire()
    writer = EventWriter(wire, list, 0.001)
    await writer.write(b"data: 1\n\n")
    wire.open.clear()
    event = asyncio.create_task(writer.write(b"data: 2\n\n"))
    await wire.held_up.wait()
    beats = len(wire.bodies) - 1
    for _ in range(3):
        await asyncio.sleep(0.002)  # several heartbeats would be due
    assert asyncio.all_tasks() == {asyncio.current_task(), event}
    wire.open.set()
    await event
    writer.close()
    assert len(wire.bodies) - 2 == beats


async def test_a_closed_writer_is_quiet() -> None:
    wire = Wire()
    wire.open.clear()
    writer = EventWriter(wire, list, 0.001)
    await wire.held_up.wait()
    writer.close()
    await asyncio.sleep(0.005)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert wire.sent == []
