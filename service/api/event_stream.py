"""An answer that is sent as it is made: a response of server-sent events."""

from collections.abc import Awaitable, Callable

from starlette.types import Receive, Send

from service.api.disconnect import while_connected
from service.api.limits import Limits
from service.api.reply import Header
from service.api.sse import EventWriter, event

Opening = Callable[[Callable[[], list[Header]]], EventWriter]
"""Opens the response, once; what it is given makes the headers, and is asked when the response starts."""


class EventStream:
    """An answer in pieces. `work` opens the response, and writes all of it.

    The response starts with the first events, or with the first heartbeat: until then an error still gets its status.
    """

    def __init__(self, work: Callable[[Opening], Awaitable[None]], receive: Receive, limits: Limits) -> None:
        self._work = work
        self._receive = receive
        self._limits = limits
        self._writer: EventWriter | None = None

    @property
    def started(self) -> bool:
        """Has the caller got the head of the response? Then an error can only be an event."""
        return self._writer is not None and self._writer.started

    async def send(self, send: Send, request_id: bytes) -> None:
        """Sends all of it.

        Raises `BatchyardError`, before or after the start; `CallerGoneError` where the caller left.
        """

        def open_response(head: Callable[[], list[Header]]) -> EventWriter:
            told = (b"x-request-id", request_id)
            self._writer = EventWriter(send, lambda: [*head(), told], self._limits.heartbeat)
            return self._writer

        try:
            await while_connected(self._work(open_response), self._receive, self._limits.disconnect_delay)
        finally:
            if self._writer is not None:
                self._writer.close()

    async def fail(self, send: Send, error: bytes) -> None:
        """Ends a response that has started with `error`, JSON."""
        await send({"type": "http.response.body", "body": event(error)})
