"""Server-sent events: their bytes, and a response that is made of them."""

import asyncio
from asyncio import Task, TimerHandle
from collections.abc import Callable

from starlette.types import Send

from service.api.errors import OK
from service.api.reply import Header

DONE = b"data: [DONE]\n\n"
"""The last event of OpenAI's streams."""

_HEARTBEAT = b": heartbeat\n\n"
_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
"""The last one tells nginx to pass events on at once."""


def event(data: bytes) -> bytes:
    """An event of one line of data."""
    return b"data: %b\n\n" % data


def comment(text: str) -> bytes:
    """A comment of one line: clients skip it, people read it."""
    return f": {text}\n\n".encode()


class EventWriter:
    """One response of server-sent events. While nothing is written for `heartbeat` seconds it sends a comment.

    `headers`: those beside the ones that every event stream has, asked for when the response starts. To be closed in
    every case. Heartbeats and events never overlap, because a server need not cope with that.
    """

    __slots__ = ("_beat", "_headers", "_heartbeat", "_last", "_loop", "_send", "_timer", "_writing", "started")

    def __init__(self, send: Send, headers: Callable[[], list[Header]], heartbeat: float) -> None:
        self.started = False
        self._send = send
        self._headers = headers
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._writing = False
        self._beat: Task[None] | None = None
        self._timer: TimerHandle = self._loop.call_later(heartbeat, self._tick)

    async def write(self, data: bytes) -> None:
        """Sends whole events, and the head of the response before the first ones. Waits for a slow reader."""
        if self._beat is not None:
            beat, self._beat = self._beat, None
            await beat
        await self._put(data)

    async def finish(self, data: bytes) -> None:
        """Sends the last events. Nothing may be awaited between this and the end of the response."""
        if self._beat is not None:
            await self._beat
        await self._start()
        await self._send({"type": "http.response.body", "body": data})

    def close(self) -> None:
        """Stops the heartbeat."""
        self._timer.cancel()
        if self._beat is None:
            return
        if not self._beat.done():
            self._beat.cancel()
        elif not self._beat.cancelled():
            self._beat.exception()  # has been seen: whoever closes has an error of his own

    async def _start(self) -> None:
        if not self.started:
            self.started = True
            headers = [*_HEADERS, *self._headers()]
            await self._send({"type": "http.response.start", "status": OK, "headers": headers})

    async def _put(self, data: bytes) -> None:
        self._writing = True
        if not self.started:
            await self._start()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._writing = False
        self._last = self._loop.time()

    def _tick(self) -> None:
        """One timer for all heartbeats: starting one with each event would cost more than the event."""
        left = self._last + self._heartbeat - self._loop.time()
        if left <= 0:
            left = self._heartbeat
            if not self._writing and (self._beat is None or self._beat.done()):
                self._beat = self._loop.create_task(self._put(_HEARTBEAT))
        self._timer = self._loop.call_later(left, self._tick)
