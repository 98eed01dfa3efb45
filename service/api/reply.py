"""An answer before it is sent."""

from dataclasses import dataclass

from starlette.types import Send

Header = tuple[bytes, bytes]

JSON_TYPE: Header = (b"content-type", b"application/json")
BINARY_TYPE: Header = (b"content-type", b"application/octet-stream")
NO_SNIFFING: Header = (b"x-content-type-options", b"nosniff")
"""Answers repeat what callers sent: no browser may take one for a page."""


@dataclass(slots=True)
class Reply:
    """Status, body and headers; `content-length` is added when it is sent."""

    status: int
    body: bytes
    headers: list[Header]


async def send_reply(send: Send, reply: Reply, request_id: bytes) -> None:
    """Sends a whole answer."""
    size = (b"content-length", b"%d" % len(reply.body))
    headers = [*reply.headers, size, (b"x-request-id", request_id), NO_SNIFFING]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
