"""What is cached as bytes that somebody else keeps: they say themselves what they are, and whether they are whole."""

from hashlib import blake2b

from service.cache.key import KEY_BYTES

_FORM = b"batchyard\x01"
"""Changes with whatever the bytes mean, so that gateways of two versions may share a Redis."""
_CHECK_BYTES = 16
_HEAD = len(_FORM) + KEY_BYTES + _CHECK_BYTES


def sealed(key: bytes, content: bytes) -> bytes:
    """The content with its key and a checksum over both."""
    return b"".join((_FORM, key, _check(key, content), content))


def unsealed(key: bytes, value: bytes) -> bytes | None:
    """The content; None where the value is another's, of another version, or not as it was sealed."""
    if not value.startswith(_FORM + key) or len(value) < _HEAD:
        return None
    content = value[_HEAD:]
    return content if value[_HEAD - _CHECK_BYTES : _HEAD] == _check(key, content) else None


def _check(key: bytes, content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECK_BYTES, key=key).digest()
