"""Request headers we read and response headers we write."""

import re
import secrets
from collections.abc import Callable, Mapping
from itertools import count

from service.api.reply import Header
from service.errors import InvalidRequestError
from service.types import InferResponse

RequestHeaders = Mapping[bytes, bytes]
"""Lower-case names, as ASGI has them."""
RequestIds = Callable[[RequestHeaders], bytes]
"""Gives a request its id."""

_SANE_ID = re.compile(rb"[\w.:-]{1,128}")
_DIGITS = re.compile(rb"[0-9]{1,18}")


def request_id_source() -> RequestIds:
    """A function that gives each request its id: the caller's `x-request-id` where it is sane, else a new one."""
    prefix = secrets.token_hex(4).encode() + b"-%x"
    numbers = count(1)

    def request_id(headers: RequestHeaders) -> bytes:
        given = headers.get(b"x-request-id")
        if given is not None and _SANE_ID.fullmatch(given):
            return given
        return prefix % next(numbers)

    return request_id


def size_header(headers: RequestHeaders, name: bytes) -> int | None:
    """A header that holds a size in bytes; None where it is absent, `InvalidRequestError` where it is no size."""
    value = headers.get(name)
    if value is None:
        return None
    if not _DIGITS.fullmatch(value):
        raise InvalidRequestError(
            f"header {name.decode()} is {value.decode('latin-1')!r}; it must be a whole number of bytes"
        )
    return int(value)


def answer_headers(response: InferResponse) -> list[Header]:
    """Which model and engine answered, and the milliseconds in the queue and in the engine."""
    timing = response.timing
    return [
        (b"x-model", f"{response.model}:{response.version}".encode()),
        (b"x-engine", response.engine.encode()),
        (b"x-queue-ms", b"%.3f" % (timing.queue * 1000)),
        (b"x-engine-ms", b"%.3f" % (timing.compute * 1000)),
    ]
