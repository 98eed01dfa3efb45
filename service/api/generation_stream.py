"""A generation on its way to the caller, event by event."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from engines.generation import Event, Usage
from service.api.event_stream import Opening
from service.api.generation_headers import timing_comment
from service.api.reply import Header
from service.api.sse import EventWriter, comment
from service.errors import EngineFailedError
from service.generating import Generation


class EventEncoder(Protocol):
    """Writes what one generation brings as server-sent events of a protocol."""

    def encode(self, events: Sequence[Event]) -> bytes:
        """Whole server-sent events, maybe none."""

    def end(self) -> bytes:
        """What comes after all others."""


async def stream_generation(
    generate: Callable[[], Awaitable[Generation]],
    encoder: Callable[[Generation], EventEncoder],
    head: Callable[[Generation], list[Header]],
    open_response: Opening,
) -> None:
    """Writes all that a generation brings. `head`: makes the headers of the response. Raises `BatchyardError`."""
    generation = await generate()
    try:
        writer = open_response(lambda: head(generation))
        await _pass_on(generation, encoder(generation), writer)
    finally:
        generation.close()


async def _pass_on(generation: Generation, encoder: EventEncoder, writer: EventWriter) -> None:
    """All events that one `read` brings are one write."""
    while events := await generation.read():
        data = encoder.encode(events)
        last = events[-1]
        if type(last) is Usage:
            await writer.finish(data + comment(timing_comment(generation, last)) + encoder.end())
            return
        if data:
            await writer.write(data)
    raise EngineFailedError(f"model {generation.model!r} ended an answer without saying so")
