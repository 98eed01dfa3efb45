"""`x-ratelimit-...`: what a tenant may still use, under OpenAI's names."""

from collections.abc import Mapping, Sequence

from service.access.window import Measure, Room
from service.api.reply import Header

_NAMES: Mapping[Measure, bytes] = {"requests": b"requests", "tokens": b"tokens", "engine_seconds": b"engine-seconds"}


def quota_headers(rooms: Sequence[Room]) -> list[Header]:
    """Of each measure that has a limit, the window of which least is left: the limit, what remains, and the time until
    nothing that was used counts any more."""
    tightest: dict[Measure, Room] = {}
    for room in rooms:
        if room.limit:
            other = tightest.get(room.measure)
            if other is None or room.used * other.limit > other.used * room.limit:
                tightest[room.measure] = room
    return [header for room in tightest.values() for header in _of(_NAMES[room.measure], room)]


def _of(name: bytes, room: Room) -> tuple[Header, Header, Header]:
    return (
        (b"x-ratelimit-limit-" + name, _number(room.limit)),
        (b"x-ratelimit-remaining-" + name, _number(room.remaining)),
        (b"x-ratelimit-reset-" + name, _duration(room.reset)),
    )


def _number(value: float) -> bytes:
    return b"%d" % value if value == int(value) else b"%.3f" % value


def _duration(seconds: float) -> bytes:
    """As OpenAI writes it: 1h2m3s, 6m0s, 1s, 250ms."""
    if seconds < 1:
        return b"%dms" % (seconds * 1000)
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return (f"{hours}h" if hours else "").encode() + (b"%dm" % minutes if rest >= 60 or hours else b"") + b"%ds" % left
