"""What is cached as bytes that somebody else keeps: they say themselves what they are, and whether they are whole."""

import math
import struct
from hashlib import blake2b
from typing import NamedTuple

from service.cache.key import KEY_BYTES

_FORM = b"batchyard\x01"
"""Changes with whatever the bytes mean, so that gateways of two versions may share a Redis."""
_CHECK_BYTES = 16
_FACTS = struct.Struct("<dd")
_CHECK = len(_FORM) + KEY_BYTES
_BODY = _CHECK + _CHECK_BYTES
_CONTENT = _BODY + _FACTS.size


class Entry(NamedTuple):
    """`made`: seconds since 1970. `cost`: seconds that it saves."""

    content: bytes
    made: float
    cost: float


def sealed(key: bytes, entry: Entry) -> bytes:
    """The entry with its key and a checksum over both."""
    body = _FACTS.pack(entry.made, entry.cost) + entry.content
    return b"".join((_FORM, key, _check(key, body), body))


def unsealed(key: bytes, value: bytes) -> Entry | None:
    """The entry; None where the value is another's, of another version, or not as it was sealed."""
    if len(value) < _CONTENT or not value.startswith(_FORM + key):
        return None
    body = value[_BODY:]
    if value[_CHECK:_BODY] != _check(key, body):
        return None
    made, cost = _FACTS.unpack_from(body)
    if not (math.isfinite(made) and math.isfinite(cost)):
        return None
    return Entry(value[_CONTENT:], made, cost)


def _check(key: bytes, body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECK_BYTES, key=key).digest()
