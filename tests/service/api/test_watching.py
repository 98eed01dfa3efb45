"""Watching a connection leaves nothing for the garbage collector, which would stop the world for what it finds."""

import asyncio
import gc

from starlette.types import Message

from service.api.disconnect import while_connected


async def test_a_watched_answer_leaves_no_cycles() -> None:
    silent = asyncio.Event()

    async def receive() -> Message:
        await silent.wait()
        return {"type": "http.disconnect"}

    async def answer() -> str:
        for _ in range(3):
            await asyncio.sleep(0.001)
        return "answer"

    async def ask(times: int) -> None:
        for _ in range(times):
            assert await while_connected(answer(), receive, delay=0.0) == "answer"
        await asyncio.sleep(0.01)

    await ask(3)
    gc.collect()
    gc.disable()
    try:
        await ask(50)
        assert gc.collect() < 50
    finally:
        gc.enable()
