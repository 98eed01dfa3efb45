"""Rows that are known to make an engine fail, refused for a while before they cost anything."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from engines.tensor import Tensors, encode_raw
from service.errors import EngineFailedError

SECONDS = 60.0
"""How long a row is refused: callers that try again in a loop are stopped, and a mended model is found out soon."""
_MOST = 1024
"""Rows that are remembered; the oldest goes first."""


@dataclass(slots=True)
class Quarantine:
    """Fingerprints of rows: those that are refused, until when and with what words; those that failed once, alone."""

    _refused: OrderedDict[bytes, tuple[float, str]] = field(default_factory=OrderedDict)
    _unclear: OrderedDict[bytes, int] = field(default_factory=OrderedDict)

    def check(self, parts: Sequence[Tensors], now: float) -> None:
        """Raises `EngineFailedError` for a row that is refused. Costs nothing while none is."""
        if not self._refused or not self.count(now):
            return
        for part in parts:
            known = self._refused.get(fingerprint(part))
            if known:
                raise EngineFailedError(
                    f"{known[1]}; the same input is refused for another {known[0] - now:.0f} s", retryable=False
                )

    def refuse(self, row: Tensors, said: str, now: float) -> None:
        """From now on this row is refused."""
        key = fingerprint(row)
        self._refused[key] = (now + SECONDS, said)
        self._refused.move_to_end(key)
        _bound(self._refused)

    def unclear(self, row: Tensors, answered: int) -> bool:
        """A row failed alone, and nothing else was in its batch; `answered`: requests answered until now.

        Is it at fault? It is if it failed before, and the engine answered others since: a broken engine answers none.
        """
        key = fingerprint(row)
        before = self._unclear.pop(key, None)
        if before is not None and answered > before:
            return True
        self._unclear[key] = answered if before is None else before
        _bound(self._unclear)
        return False

    def count(self, now: float) -> int:
        """Rows that are refused now."""
        while self._refused:
            key, (until, _) = next(iter(self._refused.items()))
            if now < until:
                break
            del self._refused[key]
        return len(self._refused)


def fingerprint(row: Tensors) -> bytes:
    """16 bytes that tell this row from others: a hash of names, datatypes, shapes and contents."""
    digest = blake2b(digest_size=16)
    for name in sorted(row):
        array = row[name]
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(encode_raw(array))
    return digest.digest()


def _bound(rows: "OrderedDict[bytes, tuple[float, str]] | OrderedDict[bytes, int]") -> None:
    if len(rows) > _MOST:
        rows.popitem(last=False)
