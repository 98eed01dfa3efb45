"""What another server says went wrong, in our words."""

import re
from collections.abc import Callable, Mapping

from engines.errors import (
    EngineBusyError,
    EngineError,
    EngineRefusedError,
    EngineTimeoutError,
    EngineUnreachableError,
    ExecutionError,
    InvalidInputError,
)

Make = Callable[[str], EngineError]

LONGEST_SAID = 2000
"""Characters of a server's message that callers are shown."""
BUSY_FOR = 0.1
"""Seconds after which to ask a busy server again that does not say when: a few batches later."""
_LONGEST_WAIT = 60.0
_TOO_LARGE = re.compile(r"larger than (the )?max", re.IGNORECASE)
_BUSY = re.compile(r"maximum queue size|timeout expired|queue is full", re.IGNORECASE)
"""How Triton words that its queue is full, or that a request waited too long in it: both are UNAVAILABLE."""

_CODES: Mapping[str, Make] = {
    "INVALID_ARGUMENT": InvalidInputError,
    "OUT_OF_RANGE": InvalidInputError,
    "FAILED_PRECONDITION": InvalidInputError,
    "ALREADY_EXISTS": InvalidInputError,
    "UNIMPLEMENTED": InvalidInputError,
    "NOT_FOUND": EngineUnreachableError,
    "DEADLINE_EXCEEDED": EngineTimeoutError,
    "UNAUTHENTICATED": EngineRefusedError,
    "PERMISSION_DENIED": EngineRefusedError,
}
"""gRPC's other codes say that the server failed. NOT_FOUND: the model is not loaded there, as if nobody were."""

_STATUSES: Mapping[int, Make] = {
    401: EngineRefusedError,
    403: EngineRefusedError,
    404: EngineUnreachableError,
    408: EngineTimeoutError,
    504: EngineTimeoutError,
}


def of_code(code: str, said: str, retry_after: str) -> EngineError:
    """A gRPC status by its name, its message, and milliseconds after which to come back, "" where nothing is said."""
    text = _shortened(said) or code
    if code == "RESOURCE_EXHAUSTED":
        return InvalidInputError(text) if _TOO_LARGE.search(said) else EngineBusyError(text, _seconds(retry_after))
    if code == "UNAVAILABLE":
        busy = bool(retry_after) or _BUSY.search(said)
        return EngineBusyError(text, _seconds(retry_after)) if busy else EngineUnreachableError(text)
    return _CODES.get(code, ExecutionError)(text)


def of_status(status: int, said: str, retry_after: str) -> EngineError:
    """An HTTP status other than 200; as `of_code`."""
    text = _shortened(said) or f"HTTP status {status}"
    if status in (429, 503):
        return EngineBusyError(text, _seconds(retry_after))
    if status in _STATUSES:
        return _STATUSES[status](text)
    return InvalidInputError(text) if 400 <= status < 500 else ExecutionError(text)


def _seconds(milliseconds: str) -> float:
    try:
        seconds = float(milliseconds) / 1000
    except ValueError:
        return BUSY_FOR
    return min(max(0.0, seconds), _LONGEST_WAIT)  # in this order NaN is 0


def _shortened(said: str) -> str:
    return said if len(said) <= LONGEST_SAID else said[:LONGEST_SAID] + "..."
