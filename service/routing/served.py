"""One open version of a model, and what routing remembers of it."""

from dataclasses import dataclass, field
from secrets import token_bytes

from service.intake import Intake
from service.routing.breaker import Breaker
from service.routing.replica import Replica

DIGEST_BYTES = 32


def no_digest() -> bytes:
    """Of what nobody has read: equal to no other."""
    return token_bytes(DIGEST_BYTES)


@dataclass(slots=True, weakref_slot=True)
class Served:
    """One version of a model, open. `pressed_until`: it refused somebody lately; until then, ask its prediction first.

    `quality`: what the model promises, 1.0 is as good as the original. `digest`: of its files and configuration, where
    answers of it are cached. `parts`: the names, and versions, of what it asks in its turn.
    """

    intake: Intake
    replica: Replica
    breaker: Breaker = field(default_factory=Breaker)
    quality: float = 1.0
    pressed_until: float = 0.0
    digest: bytes = field(default_factory=no_digest)
    parts: tuple[tuple[str, str], ...] = ()

    def fault(self, now: float) -> str:
        """Why it cannot answer now; "" if it can."""
        return self.replica.fault or self.breaker.fault(now)
