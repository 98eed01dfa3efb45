"""Request headers we read and response headers we write."""

import re
import secrets
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import count

from service.api.reply import Header
from service.errors import InvalidRequestError
from service.types import DIRECT, NOT_CACHED, Cached, InferResponse, Prediction, Routed

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
    """Which model and engine answered, the milliseconds in the queue, in the engine, predicted and in all, and what
    the cache had to do with it."""
    timing, routed = response.timing, response.routed
    headers = [
        *_answerer(response.model, response.version, response.engine),
        (b"x-queue-ms", b"%.3f" % (timing.queue * 1000)),
        (b"x-engine-ms", b"%.3f" % (timing.compute * 1000)),
        *predicted_headers(timing.predicted, timing.actual),
    ]
    if routed is not DIRECT:
        headers += routed_headers(routed)
    if response.cached is not NOT_CACHED:
        headers += cached_headers(response.cached)
    return headers


@lru_cache(maxsize=1024)
def _answerer(model: str, version: str, engine: str) -> tuple[Header, Header]:
    """The same for every answer of a model's version."""
    return (b"x-model", f"{model}:{version}".encode()), (b"x-engine", engine.encode())


def predicted_headers(predicted: Prediction, actual: float) -> tuple[Header, Header, Header]:
    """What was predicted when the request was taken, and what came true; `actual`: seconds."""
    return (
        (b"x-predicted-ms", b"%.3f" % (predicted.seconds * 1000)),
        (b"x-predicted-p95-ms", b"%.3f" % (predicted.p95 * 1000)),
        (b"x-actual-ms", b"%.3f" % (actual * 1000)),
    )


def cached_headers(cached: Cached) -> list[Header]:
    """What the cache had to do with the answer, where it looked: `x-cache`, the `age` of what it had in whole seconds,
    and how alike the two questions are where it is the answer to another."""
    if not cached.verdict:
        return []
    headers: list[Header] = [(b"x-cache", cached.verdict.encode())]
    if cached.verdict in ("hit", "semantic"):
        headers.append((b"age", b"%d" % cached.age))
    if cached.verdict == "semantic":
        headers.append((b"x-cache-similarity", b"%.4f" % cached.similarity))
    return headers


def routed_headers(routed: Routed) -> list[Header]:
    """The cheaper variant that answered instead, and how many were tried before, where there were any."""
    headers: list[Header] = []
    if routed.step_down:
        headers.append((b"x-step-down", routed.step_down.encode()))
    if routed.tries:
        headers.append((b"x-retries", b"%d" % len(routed.tries)))
    return headers
