"""How many connections there may be, and who may still come in when there are too many."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv6Address, ip_address

from service.errors import BatchyardError
from service.limit_settings import LimitSettings

Refuse = Callable[[BatchyardError, bytes, Sequence[tuple[bytes, bytes]]], bytes]
"""Writes the whole answer for an error, from the request's target, as far as it is known, and further headers."""

_SPARE = 64
"""Connections above the bounds of which the first request is looked at: a probe of health is answered."""


class Pass(Enum):
    """What a connection may do. `PROBE`: ask for the server's health, nothing else."""

    ALL = auto()
    PROBE = auto()
    NONE = auto()


@dataclass(frozen=True, slots=True)
class House:
    """What the door knows of the house. `refuse` writes its refusals. `health`: paths that probes ask."""

    refuse: Refuse
    health: frozenset[bytes]


class Guard:
    """Counts the connections of each address and of all."""

    def __init__(self, limits: LimitSettings, house: House) -> None:
        self.limits = limits
        self.house = house
        self._total = 0
        self._probes = 0
        self._of_address: Counter[str] = Counter()

    def enter(self, address: str) -> Pass:
        """What a new connection from `address` (of `address_of`) may do. All but `NONE` leave once."""
        limits = self.limits
        full = self._total >= limits.max_connections
        if not full and self._of_address[address] < limits.max_connections_per_address:
            self._total += 1
            self._of_address[address] += 1
            return Pass.ALL
        if self._probes >= _SPARE:
            return Pass.NONE
        self._probes += 1
        return Pass.PROBE

    def leave(self, address: str, given: Pass) -> None:
        """A connection that entered with the pass `given` is gone."""
        if given is Pass.PROBE:
            self._probes -= 1
        if given is not Pass.ALL:
            return
        self._total -= 1
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]


def address_of(host: str) -> str:
    """Whom connections from `host` are counted for: one IPv4 address, or the 64 bits that one IPv6 subscriber has."""
    if ":" not in host:
        return host
    address = ip_address(host)
    if not isinstance(address, IPv6Address):
        return host
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else address.packed[:8].hex()
