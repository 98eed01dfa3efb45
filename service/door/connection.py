"""One HTTP connection: uvicorn's, with bounds on all that a caller can send before an endpoint sees it."""

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


class Connection(HttpToolsProtocol):
    """Used by uvicorn's server, which makes one for each connection; `guard` is shared by all. `most_body`: bytes.

    What breaks a bound is refused with an answer and the connection is closed; requests that came before it on the same
    connection are answered first. There are no timers: `look` is called for each connection once a second.
    """

    def __init__(self, guard: Guard, most_body: int, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._guard = guard
        self._limits = guard.limits
        self._most_body = 2 * most_body + guard.limits.max_header_bytes
        self._pass = Pass.NONE
        self._address = ""
        self._requests = 0
        self._headed: object = None
        self._ended: object = None
        self._counted: object = None
        self._fed = 0
        self._waiting = 0
        self._chunks = 0
        self._taken = 0
        self._refusal: bytes | None = None
        self._parting = False
        self._watch = Watch(guard.limits, probe=False)

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
            try:
                self.parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as asked:
                data = data[asked.args[0] :]  # the request asked for another protocol, and does not get it
            except httptools.HttpParserError as error:
                self._refuse(_refusal_of(error))
                return
            if self.scope is not self._ended:
                self._count()

    def _count(self) -> None:
        """Counts what came of a head, or a body, that is not whole yet; the piece in which it began is not counted."""
        if self.scope is not self._counted:
            self._counted, self._waiting = self.scope, 0
            return
        self._waiting += self._fed
        limits, in_head = self._limits, self.scope is not self._headed
        if in_head and len(self.url) > limits.max_url_bytes:
            self._refuse(self._target_too_long())
        elif len(self.headers) > limits.max_headers or (in_head and self._waiting > limits.max_header_bytes):
            self._refuse(self._head_too_large())
        elif self._waiting > self._most_body:
            self._refuse(InvalidRequestError("the body has more around it than in it; send it in larger chunks"))

    def on_headers_complete(self) -> None:
        """The head is whole: refuses it, or starts to answer."""
        limits = self._limits
        if len(self.url) > limits.max_url_bytes:
            raise self._target_too_long()
        if len(self.headers) > limits.max_headers or self._head_is_too_large():
            raise self._head_too_large()
        if self.parser.get_http_version() not in _SPOKEN:
            raise InvalidRequestError("only HTTP/1.1 and HTTP/1.0 are spoken here")
        if self.parser.should_upgrade() and any(name in _FRAMES_A_BODY for name, _ in self.headers):
            raise InvalidRequestError("a request with a body cannot ask for another protocol; leave out upgrade")
        if len(self.pipeline) >= limits.max_pipelined:
            raise DoorBusyError(
                f"{limits.max_pipelined} requests wait on this connection; read answers first", _RETRY_SECONDS
            )
        if self._pass is Pass.PROBE and self.url.partition(b"?")[0] not in self._guard.house.health:
            raise DoorBusyError("too many connections are open; close those that are not used", _RETRY_SECONDS)
        super().on_headers_complete()
        self.headers = []  # trailers come here; nobody is shown them
        self._headed = self.scope
        self._requests += 1
        self._waiting = self._chunks = 0
        if self._pass is Pass.PROBE:
            self.cycle.keep_alive = False

    def _head_is_too_large(self) -> bool:
        """What came in one piece within the bound need not be added up."""
        most = self._limits.max_header_bytes
        if self._fed <= most and self.scope is not self._counted:
            return False
        return sum(len(name) + len(value) for name, value in self.headers) > most

    def on_chunk_header(self) -> None:
        """A chunk of a body begins."""
        self._chunks += 1
        if self._chunks > self._limits.max_chunks:
            most = self._limits.max_chunks
            raise InvalidRequestError(f"the body has more than {most} chunks; send it in fewer, or with content-length")

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._ended = self.scope
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

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
        if self._refusal is None and self.scope is not self._ended:
            return Doing.BODY if self.scope is self._headed else Doing.HEAD
        return Doing.IDLE if self.cycle is None or self.cycle.response_complete else Doing.ANSWER

    def _refuse(self, error: BatchyardError) -> None:
        """Takes nothing more; says why when the requests that came whole are answered, and closes."""
        if self.transport.is_closing():
            return
        self._refusal = self._guard.house.refuse(error, getattr(self, "url", b""), self.server_state.default_headers)
        cycle = self.cycle
        if self.scope is not self._ended and self.scope is self._headed:
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
