"""The body of a request that generates text: refused before it is decoded where decoding would hold up the others."""

from service.api.body import read_body
from service.api.endpoint import Call
from service.api.limits import Limits
from service.errors import InvalidRequestError

_SMALL = 256 * 1024
_MOST_STRINGS = 2**17
"""Strings in one body: as many as are decoded in some 20 ms, and more than a conversation of thousands of messages."""


async def read_generation_body(call: Call, limits: Limits, prompt: str) -> bytes:
    """The whole body. `prompt`: the field that is to blame where it is too long.

    Raises `InvalidRequestError`, and what `read_body` raises.
    """
    body = await read_body(call.receive, call.headers, limits)
    if len(body) > limits.max_generation_bytes:
        raise InvalidRequestError(
            f"the request has {len(body)} bytes, the most that a model could read is {limits.max_generation_bytes}; "
            f"shorten {prompt}",
            prompt,
        )
    if len(body) > _SMALL and _least_strings(body) > _MOST_STRINGS:
        raise InvalidRequestError(f"the request holds more than {_MOST_STRINGS} strings; send fewer", prompt)
    return body


def _least_strings(body: bytes) -> int:
    """There are at least so many strings: two quotes each, those within a string not counted."""
    return (body.count(b'"') - body.count(b'\\"')) // 2
