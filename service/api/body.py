"""Collects a request body within the limits."""

from starlette.types import Receive

from service.api.compression import inflate
from service.api.headers import RequestHeaders, size_header
from service.api.limits import Limits
from service.errors import CallerGoneError, RequestTooLargeError


async def read_body(receive: Receive, headers: RequestHeaders, limits: Limits) -> bytes:
    """The whole body, inflated.

    Raises `RequestTooLargeError` past the limit (before reading where `content-length` tells), `InvalidRequestError`
    for a damaged one, `CallerGoneError` where the caller left before sending all of it.
    """
    announced = size_header(headers, b"content-length")
    if announced is not None and announced > limits.max_body_bytes:
        raise _too_large(limits)
    body = await _collect(receive, limits)
    encoding = headers.get(b"content-encoding")
    return body if encoding is None else await inflate(body, encoding, limits)


async def _collect(receive: Receive, limits: Limits) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGoneError("the caller left before the body was complete")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limits.max_body_bytes:
            raise _too_large(limits)
        if not message.get("more_body", False):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


def check_json(size: int, limits: Limits) -> None:
    """Raises `RequestTooLargeError` for more JSON than may be decoded in one go; `size`: in bytes."""
    if size > limits.max_json_bytes:
        raise RequestTooLargeError(
            f"the request has {size} bytes of JSON, the most is {limits.max_json_bytes}; send large tensors as binary "
            "data behind it, or in several requests"
        )


def _too_large(limits: Limits) -> RequestTooLargeError:
    return RequestTooLargeError(f"the body is larger than the limit of {limits.max_body_bytes} bytes")
