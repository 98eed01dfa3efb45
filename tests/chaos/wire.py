"""An HTTP/1.1 connection that mistrusts the server: it notices answers nobody asked for, and bytes behind an answer."""

import asyncio
from collections.abc import Callable
from typing import cast

from tests.chaos.questions import Answer

GARBLED = 1
"""The status of what is no HTTP answer with a length."""

_HEAD_END = b"\r\n\r\n"
LINGER = 0.2
"""Seconds that a connection is read on after its last answer: a second one would come within them."""

Stray = Callable[[str], None]
"""Told of an answer, or bytes, that nobody waits for, with the id of the request that they belong to."""


class Closed(Exception):
    """The connection closed without a whole answer."""


class Connection(asyncio.Protocol):
    """One request at a time. `answer` raises `Closed`."""

    def __init__(self, stray: Stray) -> None:
        self._stray = stray
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None
        self._request_id = ""
        self._last = ""
        self._asked: set[str] = set()
        self.begun: asyncio.Event = asyncio.Event()

    @property
    def usable(self) -> bool:
        """It can take a request."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def transport(self) -> asyncio.Transport:
        """Raises `Closed` where it is gone."""
        if self._transport is None:
            raise Closed("the connection was closed")
        return self._transport

    def expect(self, request_id: str) -> "asyncio.Future[Answer]":
        """The answer to the request that is about to be written."""
        self._request_id, self._waiting = request_id, asyncio.get_running_loop().create_future()
        self._waiting.add_done_callback(_is_known)
        self._asked.add(request_id)
        self.begun.clear()
        return self._waiting

    def write(self, data: bytes) -> None:
        """Sends bytes; raises `Closed`."""
        self.transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        self.begun.set()
        while self._data:
            if self._waiting is None or self._waiting.done():
                self._unasked()
                return
            answer = self._whole()
            if answer is None:
                return
            self._take(answer)

    def _take(self, answer: Answer) -> None:
        """An answer under the id of an earlier request of this connection is that one's second."""
        claimed = answer.headers.get("x-request-id", "")
        if claimed != self._request_id and claimed in self._asked:
            self._stray(claimed)
            return
        assert self._waiting is not None
        waiting, self._waiting, self._last = self._waiting, None, self._request_id
        waiting.set_result(answer)
        if answer.headers.get("connection", "").lower() == "close":
            self._transport_closes()

    def _unasked(self) -> None:
        answer = self._whole()
        self._stray(answer.headers.get("x-request-id", self._last) if answer else self._last)
        self._data.clear()

    def _whole(self) -> Answer | None:
        """Takes an answer out of what has come in; None where it is not all there."""
        end = self._data.find(_HEAD_END)
        if end < 0:
            return None
        first, *lines = self._data[:end].decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length, status = headers.get("content-length", ""), first[9:12]
        if not (first.startswith("HTTP/1.1 ") and status.isdigit() and length.isdigit()):
            garbled = Answer(GARBLED, {"connection": "close"}, bytes(self._data))
            self._data.clear()
            return garbled
        size = end + len(_HEAD_END) + int(length)
        if len(self._data) < size:
            return None
        body = bytes(self._data[end + len(_HEAD_END) : size])
        del self._data[:size]
        return Answer(int(status), headers, body)

    def _transport_closes(self) -> None:
        """The server said that it closes: reads on, for bytes behind the answer, but takes no further request."""
        transport, self._transport = self._transport, None
        if transport is not None:
            asyncio.get_running_loop().call_later(LINGER, transport.close)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.begun.set()
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            got = f"{len(self._data)} bytes of the answer came" if self._data else "no byte of the answer came"
            waiting.set_exception(Closed(f"the connection closed ({error or 'no error'}), {got}"))

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Hangs up at once, by a reset."""
        if self._transport is not None:
            self._transport.abort()


def _is_known(waiting: "asyncio.Future[Answer]") -> None:
    """An error that comes when its caller has given up is no news to anybody."""
    if not waiting.cancelled():
        waiting.exception()


async def connect(host: str, port: int, stray: Stray) -> Connection:
    """Raises `OSError`."""
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(stray), host, port)
    return connection
