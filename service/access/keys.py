"""Keys of callers: making them, and finding whose one is."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Generic, TypeVar

PREFIX = "by_"
"""Tells people, and programs that look for lost secrets, what it is."""
LONGEST = 512
"""Bytes of a key that is looked at."""
_BYTES = 32

Owner = TypeVar("Owner")


def new_key() -> str:
    """A key of 256 random bits, safe in URLs and headers."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest_of(key: bytes) -> bytes:
    """SHA-256 of a key: all that this server knows of it. Keys are random, so that no salt or slow hash is needed."""
    return hashlib.sha256(key).digest()


class KeyRing(Generic[Owner]):
    """Finds whose a key is, in a time that says nothing of the keys it knows.

    What is looked up is not the digest but a keyed hash of it, by a secret of this process: who calls cannot choose
    where in the table a guess falls, nor learn from the time how much of a known digest it shares ("double HMAC
    verification", Brad Hill, 2011). The digests are then compared whole, `hmac.compare_digest`, and those of unknown
    keys too, with one that nobody has.
    """

    def __init__(self, owners: Iterable[tuple[bytes, Owner]]) -> None:
        """`owners`: digests of keys, each with whose it is."""
        self._secret = secrets.token_bytes(_BYTES)
        self._nobody: tuple[bytes, Owner | None] = (secrets.token_bytes(_BYTES), None)
        self._owners: dict[bytes, tuple[bytes, Owner | None]] = {
            self._place(digest): (digest, owner) for digest, owner in owners
        }

    def owner(self, key: bytes) -> Owner | None:
        """Whose the key is; None where nobody's."""
        digest = digest_of(key[:LONGEST])
        known, owner = self._owners.get(self._place(digest), self._nobody)
        return owner if hmac.compare_digest(known, digest) else None

    def _place(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._secret, digest_size=_BYTES).digest()
