"""The hot endpoint where the server ends it."""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

from engines.generation import GenerationCall
from service.api.endpoint import Call, HotEndpoint
from service.api.errors import openai_shape, v2_shape
from service.api.event_stream import EventStream
from service.api.generation_headers import head_of
from service.api.generation_stream import stream_generation
from service.api.limits import Limits
from service.api.reply import Reply
from service.api.v2_generate import Pieces
from service.generating import GenerateRequest, Generation
from service.types import NO_HINTS
from tests.service.api.models import TestGateway


async def test_a_request_that_the_stopping_server_cancels_is_told_so() -> None:
    started = asyncio.Event()
    sent: list[Any] = []

    async def never(_: Call) -> Reply:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    endpoint = HotEndpoint(never, v2_shape(), lambda _: b"id")
    task = asyncio.create_task(endpoint({"type": "http", "headers": [], "path_params": {}}, receive, send))
    await started.wait()
    task.cancel()
    await task
    assert sent[0]["status"] == 503
    assert b"the server is stopping" in sent[1]["body"]


async def test_a_stream_that_the_stopping_server_cancels_ends_with_an_event(tmp_path: Path) -> None:
    gateway = TestGateway(tmp_path)
    sent: list[Any] = []
    begun = asyncio.Event()

    async def generate() -> Generation:
        return await gateway.generate(GenerateRequest("stuck", GenerationCall(("hello",))))

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def answer(call: Call) -> EventStream:
        def pieces(_: Generation) -> Pieces:
            return Pieces(b'{"text_output":')

        work = partial(stream_generation, generate, pieces, head_of(NO_HINTS))
        return EventStream(work, call.receive, Limits())

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            begun.set()

    endpoint = HotEndpoint(answer, openai_shape(), lambda _: b"id")
    task = asyncio.create_task(endpoint({"type": "http", "headers": [], "path_params": {}}, receive, send))
    await begun.wait()
    task.cancel()
    await task
    assert sent[1]["body"] == b'data: {"text_output":"he"}\n\n'
    assert json.loads(sent[2]["body"].removeprefix(b"data: "))["error"]["code"] == "model_unavailable"
    assert not sent[2].get("more_body")
    assert gateway.talker.open == 0
