"""A generation on its way to the caller, event by event."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from starlette.types import Receive, Send

from engines.generation import Event, Usage
from service.api.disconnect import while_connected
from service.api.generation_headers import timing_comment
from service.api.limits import Limits
from service.api.reply import Header
from service.api.sse import EventWriter, comment, event
from service.errors import EngineFailedError
from service.generating import Generation


class EventEncoder(Protocol):
    """Writes what one generation brings as server-sent events of a protocol."""

    def encode(self, events: Sequence[Event]) -> bytes:
        """Whole server-sent events, maybe none."""

    def end(self) -> bytes:
        """What comes after all others."""


class EventStream:
    """An answer that is sent as it is generated. `head`: makes the headers of the response.

    The response starts with the first events, or with the first heartbeat: until then an error still gets its status.
    """

    def __init__(
        self,
        generate: Callable[[], Awaitable[Generation]],
        encoder: Callable[[Generation], EventEncoder],
        head: Callable[[Generation], list[Header]],
        receive: Receive,
        limits: Limits,
    ) -> None:
        self._generate = generate
        self._encoder = encoder
        self._head = head
        self._receive = receive
        self._limits = limits
        self._writer: EventWriter | None = None

    @property
    def started(self) -> bool:
        """Has the caller got the head of the response? Then an error can only be an event."""
        return self._writer is not None and self._writer.started

    async def send(self, send: Send, request_id: bytes) -> None:
        """Generates and sends all of it.

        Raises `BatchyardError`, before or after the start; `CallerGoneError` where the caller left.
        """
        await while_connected(self._run(send, request_id), self._receive, self._limits.disconnect_delay)

    async def fail(self, send: Send, error: bytes) -> None:
        """Ends a response that has started with `error`, JSON."""
        await send({"type": "http.response.body", "body": event(error)})

    async def _run(self, send: Send, request_id: bytes) -> None:
        generation = await self._generate()

        def headers() -> list[Header]:
            return [*self._head(generation), (b"x-request-id", request_id)]

        writer = self._writer = EventWriter(send, headers, self._limits.heartbeat)
        try:
            await _pass_on(generation, self._encoder(generation), writer)
        finally:
            writer.close()
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
