"""gzip and deflate (RFC 1952 and RFC 1950) of request and response bodies."""

import asyncio
import re
import zlib

from service.api.headers import RequestHeaders
from service.api.limits import Limits
from service.api.reply import Reply
from service.errors import InvalidRequestError, RequestTooLargeError, UnsupportedError

_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}
_REFUSED = re.compile(rb";\s*q=0(\.0*)?\s*$")
_FAST = 1
_CHUNK = 4096
_MOST_MEMBERS = 4096
"""Compressed streams one body may string together; millions of empty ones would cost hours and never reach a limit."""


async def inflate(body: bytes, encoding: bytes, limits: Limits) -> bytes:
    """The body that `encoding`, the value of `content-encoding`, hides.

    Raises `UnsupportedError` for an unknown encoding, `RequestTooLargeError` as soon as the body grows past the limit.
    """
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    bits = _WINDOW_BITS.get(name)
    if bits is None:
        raise UnsupportedError(
            f"content-encoding {encoding.decode('latin-1')!r} is not served; send gzip, deflate or none"
        ).as_triton("Unsupported compression type")
    small = _inflate_small(body, bits, min(limits.thread_above, limits.max_body_bytes))
    if small is not None:
        return small
    return await asyncio.to_thread(_inflate, body, bits, limits.max_body_bytes)


def _inflate_small(body: bytes, bits: int, most: int) -> bytes | None:
    """The inflated body where it is whole within `most` bytes; None is for `_inflate` to judge, off the event loop."""
    if len(body) > most:
        return None
    stream = zlib.decompressobj(bits)
    try:
        part = stream.decompress(body, most)
    except zlib.error:
        return None
    return part if stream.eof and not stream.unused_data else None


def _inflate(body: bytes, bits: int, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    stream, members = zlib.decompressobj(bits), 1
    for start in range(0, len(body), _CHUNK):
        chunk = body[start : start + _CHUNK]
        while chunk:
            if stream.eof:
                stream, members = zlib.decompressobj(bits), members + 1
            if members > _MOST_MEMBERS:
                raise InvalidRequestError(f"the compressed body has more than {_MOST_MEMBERS} members; send one")
            part = _next_part(stream, chunk, left + 1)
            left -= len(part)
            if left < 0:
                raise RequestTooLargeError(f"the body inflates to more than the limit of {limit} bytes")
            parts.append(part)
            chunk = stream.unused_data
    if not stream.eof:
        raise InvalidRequestError("the compressed body ends too early")
    return b"".join(parts)


def _next_part(stream: "zlib._Decompress", chunk: bytes, most: int) -> bytes:
    try:
        return stream.decompress(chunk, most)
    except zlib.error as error:
        raise InvalidRequestError(f"the compressed body is damaged: {error}") from None


async def compressed(reply: Reply, headers: RequestHeaders, limits: Limits) -> Reply:
    """`reply` with its body compressed where the caller accepts that and the body is large enough to gain."""
    accepted = headers.get(b"accept-encoding")
    if accepted is None or len(reply.body) < limits.compress_above:
        return reply
    name = _choose(accepted)
    if name is None:
        return reply
    if len(reply.body) < limits.thread_above:
        body = _deflate(reply.body, name)
    else:
        body = await asyncio.to_thread(_deflate, reply.body, name)
    extra = [(b"content-encoding", name), (b"vary", b"accept-encoding")]
    return Reply(reply.status, body, [*reply.headers, *extra])


def _choose(accepted: bytes) -> bytes | None:
    offers = [part for part in accepted.lower().split(b",") if not _REFUSED.search(part)]
    names = [offer.split(b";")[0].strip() for offer in offers]
    return next((name for name in names if name in _WINDOW_BITS), None)


def _deflate(body: bytes, name: bytes) -> bytes:
    stream = zlib.compressobj(_FAST, zlib.DEFLATED, _WINDOW_BITS[name])
    return stream.compress(body) + stream.flush()
