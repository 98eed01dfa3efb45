"""The one table: which exception is which HTTP status, OpenAI error and gRPC status. Nothing else knows a code."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import orjson

from engines.errors import InvalidInputError
from service.api.reply import JSON_TYPE, Header, Reply
from service.errors import (
    BatchyardError,
    CallerGoneError,
    DeadlineExceededError,
    DoorBusyError,
    EngineFailedError,
    HeadTooLargeError,
    InvalidRequestError,
    LoadFailedError,
    ModelUnavailableError,
    NotAllowedError,
    NotFoundError,
    RequestTooLargeError,
    RetryLaterError,
    SlowReaderError,
    SlowRequestError,
    TargetTooLongError,
    UnauthenticatedError,
    UnsupportedError,
)

logger = logging.getLogger("batchyard.api")

OK = 200
NOT_READY = 400
"""Answers "ready?" with no: the protocol has 200 for true and 4xx for false, and Triton sends 400."""


_LONGEST_RETRY = 3600.0
_LONGEST_GRPC_MESSAGE = 3000
"""Bytes on the wire: gRPC clients take 8 KB of headers in all, of which an explanation may need 4."""
_SURELY_SHORT = _LONGEST_GRPC_MESSAGE // 12
"""Characters: each is 4 bytes at most, which are 3 each on the wire."""
_PLAIN = "".join(char for char in map(chr, range(0x20, 0x7F)) if char != "%")
"""All others are written as in URLs."""
_HOW_TO_SAY_WHO: Header = (b"www-authenticate", b"Bearer")
_HOPELESS: Header = (b"x-should-retry", b"false")
"""OpenAI's clients try again after any 408, 409, 429 and 5xx unless this says no."""


class UnknownPathError(BatchyardError):
    """No such path on this server."""


class MethodNotAllowedError(BatchyardError):
    """The path exists, but not for this method. `allowed`: those it has, as the header `allow` names them."""

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


def unknown_path(path: str) -> BatchyardError:
    """What callers of a path are told that is not there."""
    return UnknownPathError(f"no such path: {path}; the paths are listed at /docs").as_triton("Not Found")


def method_not_allowed(path: str, method: str, allowed: str) -> BatchyardError:
    """What they are told where the path answers other methods."""
    text = f"{path} does not answer {method}; use {allowed}"
    return MethodNotAllowedError(text, allowed).as_triton("Method Not Allowed")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the HTTP status, what OpenAI's `type` and `code` say, and the name of the gRPC status."""

    status: int
    type: str
    code: str
    grpc: str


TABLE: Mapping[type[BaseException], Row] = {
    InvalidRequestError: Row(400, "invalid_request_error", "invalid_request", "INVALID_ARGUMENT"),
    UnsupportedError: Row(400, "invalid_request_error", "invalid_request", "UNIMPLEMENTED"),
    InvalidInputError: Row(400, "invalid_request_error", "invalid_request", "INVALID_ARGUMENT"),
    RequestTooLargeError: Row(413, "invalid_request_error", "request_too_large", "RESOURCE_EXHAUSTED"),
    LoadFailedError: Row(400, "invalid_request_error", "load_failed", "INTERNAL"),
    HeadTooLargeError: Row(431, "invalid_request_error", "headers_too_large", "RESOURCE_EXHAUSTED"),
    TargetTooLongError: Row(414, "invalid_request_error", "url_too_long", "INVALID_ARGUMENT"),
    SlowRequestError: Row(408, "invalid_request_error", "slow_request", "DEADLINE_EXCEEDED"),
    UnauthenticatedError: Row(401, "authentication_error", "invalid_api_key", "UNAUTHENTICATED"),
    NotAllowedError: Row(403, "invalid_request_error", "not_allowed", "PERMISSION_DENIED"),
    NotFoundError: Row(404, "invalid_request_error", "model_not_found", "NOT_FOUND"),
    UnknownPathError: Row(404, "invalid_request_error", "unknown_url", "UNIMPLEMENTED"),
    MethodNotAllowedError: Row(405, "invalid_request_error", "method_not_allowed", "UNIMPLEMENTED"),
    DoorBusyError: Row(503, "server_error", "too_many_connections", "UNAVAILABLE"),
    RetryLaterError: Row(429, "rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED"),
    ModelUnavailableError: Row(503, "server_error", "model_unavailable", "UNAVAILABLE"),
    DeadlineExceededError: Row(504, "server_error", "deadline_exceeded", "DEADLINE_EXCEEDED"),
    SlowReaderError: Row(408, "invalid_request_error", "slow_reader", "RESOURCE_EXHAUSTED"),
    CallerGoneError: Row(400, "invalid_request_error", "caller_gone", "CANCELLED"),
    EngineFailedError: Row(500, "server_error", "engine_failed", "INTERNAL"),
    Exception: Row(500, "server_error", "internal_error", "INTERNAL"),
}
"""Looked up along the exception's classes, nearest first."""

Words = Callable[[Exception], str]
"""The message of an error that the caller is told of."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How callers expect an error. `json`: its object, from the message, the row and the parameter at fault."""

    json: Callable[[str, Row, str | None], object]
    words: Words = str


def v2_shape(words: Words = str) -> Shape:
    """The Open Inference Protocol's."""
    return Shape(lambda message, row, param: {"error": message}, words)


def openai_shape() -> Shape:
    """OpenAI's."""
    return Shape(_openai_json)


def _openai_json(message: str, row: Row, param: str | None) -> object:
    return {"error": {"message": message, "type": row.type, "param": param, "code": row.code}}


def is_openai(path: str) -> bool:
    """Do callers of `path` speak OpenAI's protocol?"""
    return path == "/v1" or path.startswith("/v1/")


def row_of(error: BaseException) -> Row:
    """The row of the nearest class of `error` that the table has."""
    return next(TABLE[cls] for cls in type(error).__mro__ if cls in TABLE)


def error_reply(error: Exception, shape: Shape, request_id: bytes) -> Reply:
    """The answer for `error`. An unexpected one is logged and not shown to the caller."""
    row = row_of(error)
    message = _message(error, row, shape.words, request_id)
    body = orjson.dumps(shape.json(message, row, getattr(error, "param", None)))
    return Reply(row.status, body, [JSON_TYPE, *_headers_of(error)])


@dataclass(frozen=True, slots=True)
class GrpcFault:
    """How a gRPC call ends that failed: the name of its status, its message, and what goes home behind it."""

    status: str
    message: str
    trailing: list[Header]


def grpc_fault(error: Exception, words: Words, request_id: bytes) -> GrpcFault:
    """The end of a call for `error`. An unexpected one is logged and not shown to the caller."""
    row = row_of(error)
    message = _cut(_message(error, row, words, request_id))
    return GrpcFault(row.grpc, message, _headers_of(error))


def _cut(message: str) -> str:
    cut = message[:_LONGEST_GRPC_MESSAGE]
    while len(cut) > _SURELY_SHORT and (size := len(quote(cut, _PLAIN))) > _LONGEST_GRPC_MESSAGE:
        cut = cut[: len(cut) * _LONGEST_GRPC_MESSAGE // size]
    return cut if cut == message else f"{cut}..."


def _message(error: Exception, row: Row, words: Words, request_id: bytes) -> str:
    if row.code != "internal_error":
        return words(error)
    logger.error("request %s failed", request_id.decode(), exc_info=error)
    return f"internal error; the server's log has it under request id {request_id.decode()}"


def _headers_of(error: Exception) -> list[Header]:
    if isinstance(error, UnauthenticatedError):
        return [_HOW_TO_SAY_WHO]
    if isinstance(error, MethodNotAllowedError):
        return [(b"allow", error.allowed.encode())]
    if isinstance(error, EngineFailedError) and not error.retryable:
        return [_HOPELESS]
    if not isinstance(error, RetryLaterError | ModelUnavailableError):
        return []
    if isinstance(error, ModelUnavailableError) and not error.retry_after > 0:
        return []
    seconds = min(error.retry_after, _LONGEST_RETRY)
    return [
        (b"retry-after", b"%d" % max(1, math.ceil(seconds))),
        (b"retry-after-ms", b"%d" % max(1, math.ceil(seconds * 1000))),
    ]
