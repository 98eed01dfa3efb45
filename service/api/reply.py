"""An answer before it is sent."""

from dataclasses import dataclass

from starlette.types import Send

Header = tuple[bytes, bytes]

JSON_TYPE: Header = (b"content-type", b"application/json")
BINARY_TYPE: Header = (b"content-type", b"application/octet-stream")


@dataclass(slots=True)
class Reply:
    """Status, body and headers; `content-length` is added when it is sent."""

    status: int
    body: bytes
    headers: list[Header]


async def send_reply(send: Send, reply: Reply, request_id: bytes) -> None:
    """Sends a whole answer."""
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body)), (b"x-request-id", request_id)]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
