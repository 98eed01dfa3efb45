"""The answers of one request on their way to the caller, each a server-sent event."""

from collections.abc import Awaitable, Callable

from starlette.types import Receive, Send

from service.api.disconnect import while_connected
from service.api.headers import answer_headers
from service.api.limits import Limits
from service.api.reply import Header
from service.api.sse import EventWriter, event
from service.types import InferResponse, Responses


class AnswerStream:
    """Implements `service.api.endpoint.Streamed`. `encode`: the JSON of an answer.

    The response starts with the first answer, or with the first heartbeat: until then an error still gets its status.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[Responses]],
        encode: Callable[[InferResponse], bytes],
        receive: Receive,
        limits: Limits,
    ) -> None:
        self._ask = ask
        self._encode = encode
        self._receive = receive
        self._limits = limits
        self._writer: EventWriter | None = None

    @property
    def started(self) -> bool:
        """Has the caller got the head of the response? Then an error can only be an event."""
        return self._writer is not None and self._writer.started

    async def send(self, send: Send, request_id: bytes) -> None:
        """Sends all answers.

        Raises `BatchyardError`, before or after the start; `CallerGoneError` where the caller left.
        """
        await while_connected(self._run(send, request_id), self._receive, self._limits.disconnect_delay)

    async def fail(self, send: Send, error: bytes) -> None:
        """Ends a response that has started with `error`, JSON."""
        await send({"type": "http.response.body", "body": event(error)})

    async def _run(self, send: Send, request_id: bytes) -> None:
        responses = await self._ask()
        told: list[Header] = [(b"x-request-id", request_id)]
        writer = self._writer = EventWriter(send, lambda: told, self._limits.heartbeat)
        try:
            while (response := await responses.read()) is not None:
                if not self.started:
                    told += answer_headers(response)
                if response.outputs:
                    await writer.write(event(self._encode(response)))
            await writer.finish(b"")
        finally:
            writer.close()
            responses.close()
