"""How much was used within the last so many seconds: a sliding window counter.

Two buckets, each as long as the window: the current one, and as much of the one before as the window still reaches,
as if its use had been spread evenly ("How we built rate limiting capable of scaling to millions of domains",
Cloudflare, 2017). It needs two numbers whatever the limit is. Its error: use that came all at the end of a bucket is
forgotten evenly through the next, so that a window of which a share f lies in the current bucket may hold up to
(1 + f) times the limit, always less than twice; never more than the limit within one bucket.
"""


def used(before: float, current: float, elapsed: float) -> float:
    """Within the window: of the bucket before, and the current one. `elapsed`: share of the current one that is over,
    from 0 to 1."""
    return before * (1.0 - elapsed) + current


def wait(before: float, current: float, limit: float, amount: float, elapsed: float) -> float:
    """Windows until there is room for `amount` more, at most the limit; 0: now.

    An `amount` of 0 asks for any room at all: use that is only known afterwards may begin below the limit.
    """
    room = limit - amount
    if _fits(used(before, current, elapsed), room, amount):
        return 0.0
    if _fits(current, room, amount):
        return max(0.0, _fades(before, room - current) - elapsed)
    return 1.0 - elapsed + _fades(current, room)


def _fits(found: float, room: float, amount: float) -> bool:
    return found <= room if amount else found < room


def _fades(found: float, room: float) -> float:
    """Share of a bucket after which only `room` of what was used before it still counts."""
    return 1.0 - room / found if found > room else 0.0
