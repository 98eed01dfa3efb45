"""One HTTP connection: uvicorn's, with bounds on all that a caller can send before an endpoint sees it."""

from enum import Enum, auto
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.door.guard import Guard, Pass, address_of
from service.door.watch import Doing, Sight, Verdict, Watch
from service.errors import (
    BatchyardError,
    DoorBusyError,
    HeadTooLargeError,
    InvalidRequestError,
    SlowRequestError,
    TargetTooLongError,
)

_RETRY_SECONDS = 1.0
_SPOKEN = ("1.1", "1.0")
_FRAMES_A_BODY = (b"content-length", b"transfer-encoding")


class _Reading(Enum):
    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class Connection(HttpToolsProtocol):
    """Used by uvicorn's server, which makes one for each connection; `guard` is shared by all.

    What breaks a bound is refused with an answer and the connection is closed; requests that came before it on the same
    connection are answered first. There are no timers: `look` is called for each connection once a second.
    """

    def __init__(self, guard: Guard, most_body: int, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        limits = guard.limits
        self._guard = guard
        self._limits = limits
        self._most_body = 2 * most_body + limits.max_header_bytes
        self._pass = Pass.NONE
        self._address = ""
        self._reading = _Reading.NOTHING
        self._requests = 0
        self._fed = 0
        self._waiting = 0
        self._head = 0
        self._chunks = 0
        self._taken = 0
        self._refusal: bytes | None = None
        self._parting = False
        self._watch = Watch(limits, probe=False)

    def connection_made(self, transport: Any) -> None:
        """The connection is open: is there room for it?"""
        super().connection_made(transport)
        self._address = address_of(self.client[0]) if self.client else ""
        self._pass = self._guard.enter(self._address)
        if self._pass is Pass.NONE:
            transport.abort()
        elif self._pass is Pass.PROBE:
            self._watch = Watch(self._limits, probe=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._guard.leave(self._address, self._pass)
        self._pass = Pass.NONE
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a caller."""
        while data and self._refusal is None:
            self._fed = len(data)
            data = self._feed(data)
            if self._reading is not _Reading.NOTHING:
                self._count()

    def _feed(self, data: bytes) -> bytes:
        """Parses; gives what is left where a request asked for another protocol, which it does not get."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as asked:
            return data[asked.args[0] :]
        except httptools.HttpParserError as error:
            self._refuse(_refusal_of(error))
        return b""

    def _count(self) -> None:
        """Counts what came of a head, or a body, that is not whole yet; the piece in which it began is not counted."""
        self._waiting += self._fed
        if self._waiting <= 0:
            return
        if self._reading is _Reading.BODY:
            if self._waiting > self._most_body:
                self._refuse(InvalidRequestError("the body has more around it than in it; send it in larger chunks"))
        elif len(self.url) > self._limits.max_url_bytes:
            self._refuse(self._target_too_long())
        elif self._waiting > self._limits.max_header_bytes:
            self._refuse(self._head_too_large())

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._reading = _Reading.HEAD
        self._requests += 1
        self._waiting = -self._fed
        self._head = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or behind the body a trailer, which nobody is shown."""
        self._head += len(name) + len(value)
        if self._head > self._limits.max_header_bytes or len(self.headers) >= self._limits.max_headers:
            raise self._head_too_large()
        if self._reading is _Reading.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: refuses it, or starts to answer."""
        upgrades = self.parser.should_upgrade()
        if len(self.url) > self._limits.max_url_bytes:
            raise self._target_too_long()
        if self.parser.get_http_version() not in _SPOKEN:
            raise InvalidRequestError("only HTTP/1.1 and HTTP/1.0 are spoken here")
        if upgrades and any(name in _FRAMES_A_BODY for name, _ in self.headers):
            raise InvalidRequestError("a request with a body cannot ask for another protocol; leave out upgrade")
        if len(self.pipeline) >= self._limits.max_pipelined:
            most = self._limits.max_pipelined
            raise DoorBusyError(f"{most} requests wait on this connection; read answers first", _RETRY_SECONDS)
        if self._pass is Pass.PROBE and self.url.partition(b"?")[0] not in self._guard.house.health:
            raise DoorBusyError("too many connections are open; close those that are not used", _RETRY_SECONDS)
        super().on_headers_complete()
        self._reading = _Reading.BODY
        self._waiting = -self._fed
        self._chunks = 0
        if self._pass is Pass.PROBE:
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        """A chunk of a body begins."""
        self._chunks += 1
        if self._chunks > self._limits.max_chunks:
            most = self._limits.max_chunks
            raise InvalidRequestError(f"the body has more than {most} chunks; send it in fewer, or with content-length")

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        self._reading = _Reading.NOTHING

    def on_response_complete(self) -> None:
        """An answer is written: the next request of the connection, if one waits. Takes the place of uvicorn's, which
        sets a timer each time."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal is not None:
            self._part()

    def resume_writing(self) -> None:
        """The caller has taken most of what was written."""
        self._taken += 1
        super().resume_writing()

    def look(self, now: float) -> None:
        """Ends the connection where it takes too long; `now`: seconds."""
        unsent = self.transport.get_write_buffer_size()
        sight = Sight(self._doing(), self._requests, self._waiting, unsent, self._taken, self.flow.read_paused)
        match self._watch.look(sight, now):
            case Verdict.SLOW_HEAD:
                self._refuse(SlowRequestError("the headers took too long to come; send them faster"))
            case Verdict.SLOW_BODY:
                self._refuse(SlowRequestError("the body took too long to come; send it faster"))
            case Verdict.CLOSE:
                self.transport.close()
            case Verdict.ABORT:
                self.transport.abort()

    def _doing(self) -> Doing:
        if self._parting:
            return Doing.PARTING
        if self._refusal is None and self._reading is _Reading.HEAD:
            return Doing.HEAD
        if self._refusal is None and self._reading is _Reading.BODY:
            return Doing.BODY
        return Doing.IDLE if self.cycle is None or self.cycle.response_complete else Doing.ANSWER

    def _refuse(self, error: BatchyardError) -> None:
        """Takes nothing more; says why when the requests that came whole are answered, and closes."""
        if self.transport.is_closing():
            return
        self._refusal = self._guard.house.refuse(error, self.url or b"", self.server_state.default_headers)
        cycle = self.cycle
        if self._reading is _Reading.BODY:
            if self.pipeline:
                self.pipeline.popleft()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        elif cycle is not None and not cycle.response_complete:
            return
        self._part()

    def _part(self) -> None:
        """The last words. The rest of what the caller sends is read and dropped, or it would not get to see them."""
        self._parting = True
        self.flow.resume_reading()
        self.transport.write(self._refusal or b"")
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _target_too_long(self) -> TargetTooLongError:
        return TargetTooLongError(f"the URL has more than {self._limits.max_url_bytes} bytes; shorten it")

    def _head_too_large(self) -> HeadTooLargeError:
        limits = self._limits
        bounds = f"{limits.max_header_bytes} bytes in {limits.max_headers} headers"
        return HeadTooLargeError(f"the headers are too large; the most is {bounds}")


def _refusal_of(error: httptools.HttpParserError) -> BatchyardError:
    """What the parser, or one of the callbacks it made, has against a request."""
    cause = error.__context__
    if isinstance(cause, BatchyardError):
        return cause
    problem = str(error) if cause is None else "its URL cannot be read"
    return InvalidRequestError(f"the request is not valid HTTP/1.1: {problem}")
