"""Lua that Redis runs in one piece."""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """`text`: takes KEYS and ARGV, returns an array. `digest`: SHA-1 in hex, its name in Redis."""

    text: bytes
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode())
