"""The answers of one request on their way to the caller, each a server-sent event."""

from collections.abc import Awaitable, Callable

from service.api.event_stream import Opening
from service.api.headers import answer_headers
from service.api.reply import Header
from service.api.sse import event
from service.types import InferResponse, Responses


async def stream_answers(
    ask: Callable[[], Awaitable[Responses]], encode: Callable[[InferResponse], bytes], open_response: Opening
) -> None:
    """Writes the JSON that `encode` makes of each answer. The headers tell of the first. Raises `BatchyardError`."""
    responses = await ask()
    head: list[Header] = []
    try:
        writer = open_response(lambda: head)
        while (response := await responses.read()) is not None:
            head = head or answer_headers(response)
            if response.outputs:
                await writer.write(event(encode(response)))
        await writer.finish(b"")
    finally:
        responses.close()
