"""Echo models behind real replicas, with whatever parameters a test wants."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from engines.config.pbtxt import parse
from engines.generation import Delta, Event, Finish, GenerationCall, Options, Usage
from engines.model_config import ModelConfig
from service.cores import CoreBudget
from service.generating import GenerateRequest, Generation
from service.generation.replica import GeneratorReplica
from service.opening import Machine
from service.opening_generation import open_generation

FOLDER = Path(__file__).parents[3] / "model_repository" / "echo"


def echo_config(parameters: Mapping[str, object]) -> ModelConfig:
    """The shipped echo model's configuration with more `batchyard.` parameters."""
    text = (FOLDER / "config.pbtxt").read_text("utf-8")
    for key, value in parameters.items():
        text += f'parameters {{ key: "batchyard.{key}" value {{ string_value: "{value}" }} }}\n'
    return parse(text, source="config.pbtxt", folder=FOLDER)


@asynccontextmanager
async def echoing(buffer: int = 1024, **parameters: object) -> AsyncIterator[GeneratorReplica]:
    """An open echo model. Parameters are named as in config.pbtxt, with __ for the dots."""
    config = echo_config({name.replace("__", "."): value for name, value in parameters.items()})
    machine = Machine(CoreBudget(2), 2, time.monotonic, 2048, buffer)
    replica = await open_generation(config, FOLDER, "1", machine, lambda answers, seconds: None, machine.cores)
    assert isinstance(replica, GeneratorReplica)
    try:
        yield replica
    finally:
        await replica.close(0)


def asking(text: str, deadline: float = float("inf"), priority: int = 0, **options: object) -> GenerateRequest:
    """A request to go on with `text`, which echo does by saying it again."""
    call = GenerationCall((text,), replace(Options(max_tokens=len(text.encode())), **options))  # type: ignore[arg-type]
    return GenerateRequest("echo", call, deadline=deadline, priority=priority)


async def events_of(generation: Generation) -> list[Event]:
    """Everything that comes."""
    found: list[Event] = []
    while events := await generation.read():
        found += events
    return found


def text_of(events: list[Event], index: int = 0) -> str:
    """The text of one answer."""
    return "".join(event.text for event in events if isinstance(event, Delta) and event.index == index)


def finish_of(events: list[Event], index: int = 0) -> str:
    """Why one answer ended."""
    (reason,) = [event.reason for event in events if isinstance(event, Finish) and event.index == index]
    return reason


def usage_of(events: list[Event]) -> Usage:
    """The usage, which must be the last event."""
    assert isinstance(events[-1], Usage)
    assert sum(isinstance(event, Usage) for event in events) == 1
    return events[-1]
