"""What another server or the way to it says about a failure, in the engines' words. A key is never among them."""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time

import httpx
import msgspec

from engines.errors import (
    EngineBusyError,
    EngineError,
    EngineRefusedError,
    EngineTimeoutError,
    EngineUnreachableError,
    ExecutionError,
    InvalidInputError,
)

LONGEST_BODY = 65_536
"""Bytes of an error's body that are read."""
_LONGEST_TEXT = 500
_RETRY_AFTER = 1.0
"""Seconds, where the server names none."""
_MOST_RETRY = 3600.0
_AT_FAULT = (400, 413, 422)
"""Statuses that blame the request."""
_LOCKED = (401, 402, 403)
_TYPES: Mapping[str, int] = {
    "authentication_error": 401,
    "badrequesterror": 400,
    "bad_request_error": 400,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "invalid_request_error": 400,
    "notfounderror": 404,
    "not_found_error": 404,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "timeout": 504,
}
"""Error types of a message in the stream that carries no status, and the status each would have had."""


class ErrorMapper:
    """Turns failures into `EngineError`s, which callers get to read: where the server is stays unsaid.

    `key`: blotted out of what it says. `key_env`: the variable that it is from.
    """

    def __init__(self, key: str, key_env: str) -> None:
        self._key = key
        self._key_env = key_env

    def of_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> EngineError:
        """For an answer with a status other than 200."""
        said = self._said(body) or _phrase(status)
        return self._of(status, said, _retry_after(headers))

    def of_event(self, error: object) -> EngineError:
        """For an error in the middle of a stream: the value of its `error`."""
        fields = error if isinstance(error, dict) else {"message": error}
        said = self._blotted(_message(fields) or "an error without a message")
        for value in (fields.get("code"), fields.get("status"), fields.get("type"), fields.get("code")):
            if isinstance(value, int) and 400 <= value < 600:
                return self._of(value, said, None)
            if isinstance(value, str) and (status := _TYPES.get(value.lower())):
                return self._of(status, said, None)
        return ExecutionError(f"the upstream server failed while it answered: {said}")

    def unreachable(self, error: httpx.HTTPError) -> EngineError:
        """For a failure before the answer began."""
        said = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectTimeout):
            said = "it took no connection in time"
        return EngineUnreachableError(f"the upstream server cannot be reached: {said}")

    def cut(self, error: httpx.HTTPError) -> EngineError:
        """For a failure after the answer began."""
        return ExecutionError(f"the upstream server broke off its answer: {str(error) or type(error).__name__}")

    def late(self, timeout: float) -> EngineError:
        """For an answer that was not complete after `timeout` seconds."""
        return EngineTimeoutError(f"the upstream server had not answered after {timeout:.3g} s")

    def _of(self, status: int, said: str, retry_after: float | None) -> EngineError:
        if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after):
            return EngineBusyError(f"the upstream server is busy: {said}", retry_after or _RETRY_AFTER)
        if status in _LOCKED:
            return EngineRefusedError(f"the upstream server refuses us with status {status}: {said}; {self._remedy()}")
        if status in _AT_FAULT:
            return InvalidInputError(said)
        if status == HTTPStatus.GATEWAY_TIMEOUT:
            return EngineTimeoutError(f"the upstream server ran out of time: {said}")
        return ExecutionError(f"the upstream server failed with status {status}: {said}")

    def _remedy(self) -> str:
        if not self._key_env:
            return "it wants a key: name the variable that holds it in batchyard.upstream.api_key_env"
        return f"the key in {self._key_env} is wrong, or lacks the right"

    def _said(self, body: bytes) -> str:
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._blotted(body.decode("utf-8", "replace"))
        return self._blotted(_message(found))

    def _blotted(self, text: str) -> str:
        """One line of bounded length, without the key."""
        text = " ".join(text.split())
        if self._key:
            text = text.replace(self._key, "***")
        return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def _message(found: object, depth: int = 4) -> str:
    """The message in an error's JSON, as the servers there are write it, at most `depth` levels deep; "" for none."""
    if isinstance(found, str):
        return found
    if isinstance(found, list) and depth:
        return "; ".join(text for item in found if (text := _message(item, depth - 1)))
    if isinstance(found, dict) and depth:
        texts = (_message(found.get(name), depth - 1) for name in ("error", "message", "msg", "detail"))
        return next(filter(None, texts), "")
    return ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after` (seconds, or a date); None where neither can be read."""
    seconds = _number(headers.get("retry-after-ms", "")) / 1000
    if math.isnan(seconds):
        seconds = _number(headers.get("retry-after", ""))
    if math.isnan(seconds):
        seconds = _until(headers.get("retry-after", ""))
    return None if math.isnan(seconds) else min(max(seconds, 0.001), _MOST_RETRY)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _until(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time()
    except ValueError:
        return math.nan
