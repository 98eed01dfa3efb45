"""The hot endpoint where the server ends it."""

import asyncio
from typing import Any

from service.api.endpoint import Call, HotEndpoint
from service.api.errors import v2_shape
from service.api.reply import Reply


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

    endpoint = HotEndpoint(never, v2_shape, lambda _: b"id")
    task = asyncio.create_task(endpoint({"type": "http", "headers": [], "path_params": {}}, receive, send))
    await started.wait()
    task.cancel()
    await task
    assert sent[0]["status"] == 503
    assert b"the server is stopping" in sent[1]["body"]
