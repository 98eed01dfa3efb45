"""A small HTTP/1.1 client for load: one request at a time a connection, whole answers, little work for each."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "


@dataclass(slots=True)
class Exchange:
    """One request and what came of it. Times in seconds on the loop's clock; `status` 0: no whole answer came.

    `intended`: when it was to be sent, which is what its latency counts from; `body`: of the answer, head left out.
    """

    request: bytes
    intended: float
    sent: float = 0.0
    done: float = 0.0
    status: int = 0
    head: bytes = b""
    body: bytes = b""

    @property
    def seconds(self) -> float:
        """From the intended start to the answer."""
        return self.done - self.intended


class Connection(asyncio.Protocol):
    """Sends an exchange at a time. `free` is told when it can take the next, or is gone."""

    def __init__(self, free: Callable[["Connection"], None]) -> None:
        self._free = free
        self._transport: asyncio.WriteTransport | None = None
        self._exchange: Exchange | None = None
        self._data = bytearray()
        self._loop = asyncio.get_running_loop()

    @property
    def gone(self) -> bool:
        """It can take no more."""
        return self._transport is None or self._transport.is_closing()

    def send(self, exchange: Exchange) -> None:
        """Sends the request; its answer goes into the exchange."""
        if self._exchange is not None or self._transport is None:
            raise RuntimeError("this connection is busy, or gone")
        self._exchange = exchange
        exchange.sent = self._loop.time()
        self._transport.write(exchange.request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(_HEAD_END)
        if end < 0:
            return
        head = bytes(self._data[:end])
        size = end + len(_HEAD_END) + _content_length(head)
        if len(self._data) < size:
            return
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            raise RuntimeError(f"an answer that nobody asked for: {head[:80]!r}")
        exchange.done = self._loop.time()
        exchange.status = int(head[9:12])
        exchange.head = head
        exchange.body = bytes(self._data[end + len(_HEAD_END) : size])
        del self._data[:size]
        if b"connection: close" in head:
            self.close()
        self._free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.done = self._loop.time()
            self._free(self)

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.close()


def _content_length(head: bytes) -> int:
    start = head.find(_LENGTH)
    if start < 0:
        raise RuntimeError(f"an answer without a length: {head[:200]!r}")
    end = head.find(b"\r", start + len(_LENGTH))
    return int(head[start + len(_LENGTH) : end if end >= 0 else len(head)])


def post(url: str, body: bytes, headers: str = "") -> bytes:
    """The bytes of a POST of JSON. `headers`: further lines, each ended by CRLF."""
    target = urlsplit(url)
    head = (
        f"POST {target.path} HTTP/1.1\r\nhost: {target.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


async def connect(url: str, free: Callable[[Connection], None]) -> Connection:
    """A connection to the server of `url`."""
    target = urlsplit(url)
    loop = asyncio.get_running_loop()
    host, port = target.hostname or "127.0.0.1", target.port or 80
    _, connection = await loop.create_connection(lambda: Connection(free), host, port)
    return connection
