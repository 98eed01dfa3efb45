"""What a connection is doing, and whether it has done it for too long. Looked at once a second; no timer for each."""

from dataclasses import dataclass
from enum import Enum, auto

from service.limit_settings import LimitSettings

LINGER_SECONDS = 2
"""A refused caller has so long to read why; to close at once would reset the connection, and lose the answer."""
PROBE_SECONDS = 2
"""A connection above the bounds has so long for its one question."""


class Doing(Enum):
    """What a connection is in the middle of."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    PARTING = auto()


class Verdict(Enum):
    """What is to be done about it."""

    GO_ON = auto()
    SLOW_HEAD = auto()
    SLOW_BODY = auto()
    CLOSE = auto()
    ABORT = auto()


@dataclass(frozen=True, slots=True)
class Sight:
    """A connection as it looks now. `request`: its number on the connection. `received`: bytes of its body. `unsent`:
    bytes of answers that the caller has not taken. `taken`: how often it took enough to go on. `held`: it is the server
    that reads no more for now."""

    doing: Doing
    request: int
    received: int = 0
    unsent: int = 0
    taken: int = 0
    held: bool = False


class Watch:
    """Follows one connection. `probe`: one that came above the bounds."""

    def __init__(self, limits: LimitSettings, probe: bool) -> None:
        self._limits = limits
        self._idle = PROBE_SECONDS if probe else limits.idle_seconds
        self._head = min(PROBE_SECONDS, limits.head_seconds) if probe else limits.head_seconds
        self._key: object = None
        self._since = 0.0

    def look(self, sight: Sight, now: float) -> Verdict:
        """What to do; `now`: seconds."""
        if sight.unsent:
            waited = self._waited(("unsent", sight.unsent, sight.taken), now)
            return Verdict.ABORT if waited >= self._limits.write_seconds else Verdict.GO_ON
        waited = self._waited((sight.doing, sight.request, sight.held), now)
        if sight.held:
            return Verdict.GO_ON
        match sight.doing:
            case Doing.HEAD if waited >= self._head:
                return Verdict.SLOW_HEAD
            case Doing.BODY if waited >= self._limits.body_seconds + sight.received / self._limits.min_body_rate:
                return Verdict.SLOW_BODY
            case Doing.IDLE if waited >= self._idle:
                return Verdict.CLOSE
            case Doing.PARTING if waited >= LINGER_SECONDS:
                return Verdict.ABORT
        return Verdict.GO_ON

    def _waited(self, key: object, now: float) -> float:
        """Seconds for which nothing has changed."""
        if key != self._key:
            self._key, self._since = key, now
        return now - self._since
