"""The process of `tests/upstream_server.py`, as tests use it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from engines.base import EngineOptions
from engines.config.pbtxt import parse
from engines.generation import Chat, Delta, Event, GenerationCall, Message, Options

SERVER = Path(__file__).with_name("upstream_server.py")
FOLDER = Path("model_repository/tiny")
HEAD = """backend: "openai_upstream"
model_transaction_policy { decoupled: true }
input { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] }
output { name: "text_output" data_type: TYPE_STRING dims: [ 1 ] }
"""


class Upstream:
    """The server, and what it saw."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/v1"

    async def state(self) -> dict[str, Any]:
        return await self._get("/state")

    async def reset(self) -> None:
        """Forgets what was, once nothing of an earlier test runs."""
        await self.until(lambda state: not state["running"])
        await self._get("/reset")

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Asks for the state until it is as wanted; fails where it never comes to be."""
        async with asyncio.timeout(20):
            while not condition(state := await self.state()):
                pass
        return state

    async def until_still(self, key: str) -> int:
        """Asks until a count has not changed for 50 answers in a row."""
        seen, same = -1, 0
        async with asyncio.timeout(20):
            while same < 50:
                value = (await self.state())[key]
                seen, same = value, same + 1 if value == seen else 0
        return int(seen)

    async def _get(self, path: str) -> dict[str, Any]:
        async with httpx.AsyncClient(trust_env=False) as client:
            state: dict[str, Any] = (await client.get(f"{self.root}{path}", timeout=10)).json()
        return state


@contextmanager
def upstream_process() -> Iterator[Upstream]:
    """A server of its own for the time of the block."""
    command = [sys.executable, str(SERVER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Upstream(int(process.stdout.readline()))
        finally:
            process.kill()


def config_text(url: str, **parameters: str) -> str:
    """config.pbtxt of a model `tiny` behind `url`; parameters by their names after `batchyard.`, dots as `__`."""
    values = {"upstream__url": url, **parameters}
    return HEAD + "".join(
        f'parameters {{ key: "batchyard.{key.replace("__", ".")}" value {{ string_value: "{value}" }} }}\n'
        for key, value in values.items()
    )


def options(url: str, **parameters: str) -> EngineOptions:
    config = parse(config_text(url, **parameters), source="config.pbtxt", folder=FOLDER)
    return EngineOptions(config, FOLDER / "1")


def chat(text: str, **more: Any) -> GenerationCall:
    return GenerationCall((Chat((Message("user", text),)),), Options(**more))


async def all_events(stream: AsyncGenerator[Sequence[Event], None]) -> list[Event]:
    return [event async for events in stream for event in events]


def text_of(events: Sequence[Event], index: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta) and event.index == index)
