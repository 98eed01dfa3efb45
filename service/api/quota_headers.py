"""`x-ratelimit-...`: what a tenant may still use, under OpenAI's names."""

from collections.abc import Iterator, Sequence

from service.access.window import Measure, Room
from service.api.reply import Header

_SHOWN: tuple[tuple[Measure, bytes], ...] = (
    ("requests", b"requests"),
    ("tokens", b"tokens"),
    ("engine_seconds", b"engine-seconds"),
)


def quota_headers(rooms: Sequence[Room]) -> list[Header]:
    """Of each measure that has a limit, the window of which least is left: the limit, what remains, and the time until
    nothing that was used counts any more."""
    return [header for measure, name in _SHOWN for header in _of(measure, name, rooms)]


def _of(measure: Measure, name: bytes, rooms: Sequence[Room]) -> Iterator[Header]:
    limited = [room for room in rooms if room.measure == measure and room.limit]
    if limited:
        room = min(limited, key=lambda one: one.remaining / one.limit)
        yield b"x-ratelimit-limit-" + name, _number(room.limit)
        yield b"x-ratelimit-remaining-" + name, _number(room.remaining)
        yield b"x-ratelimit-reset-" + name, _duration(room.reset)


def _number(value: float) -> bytes:
    return f"{value:.3f}".rstrip("0").rstrip(".").encode()


def _duration(seconds: float) -> bytes:
    """As OpenAI writes it: 1h2m3s, 6m0s, 1s, 250ms."""
    if seconds < 1:
        return b"%dms" % (seconds * 1000)
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return (f"{hours}h" if hours else "").encode() + (b"%dm" % minutes if rest >= 60 or hours else b"") + b"%ds" % left
