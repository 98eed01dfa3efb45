"""How much was used within the last so many seconds: a sliding window counter.

Two buckets, each as long as the window: the current one, and as much of the one before as the window still reaches,
as if its use had been spread evenly ("How we built rate limiting capable of scaling to millions of domains",
Cloudflare, 2017). It needs two numbers whatever the limit is. Its error: use that came all at the end of a bucket is
forgotten evenly through the next, so that a window of which a share f lies in the current bucket may hold up to
(1 + f) times the limit, always less than twice; never more than the limit within one bucket.
"""

import math
from dataclasses import dataclass

NEVER = math.inf


@dataclass(slots=True)
class Buckets:
    """What was used in the current bucket and in the one before."""

    before: float = 0.0
    current: float = 0.0

    def shift(self, buckets: int) -> None:
        """So many buckets have begun since."""
        if buckets:
            self.before = self.current if buckets == 1 else 0.0
            self.current = 0.0

    def used(self, elapsed: float) -> float:
        """Within the window. `elapsed`: share of the current bucket that is over, from 0 to 1."""
        return self.before * (1.0 - elapsed) + self.current

    def wait(self, limit: float, amount: float, elapsed: float) -> float:
        """Windows until there is room for `amount` more, 0: now, `NEVER`: the limit is less than that.

        An `amount` of 0 asks for any room at all: use that is only known afterwards may begin below the limit.
        """
        room = limit - amount
        if room < 0:
            return NEVER
        if self._fits(self.used(elapsed), room, amount):
            return 0.0
        if self._fits(self.current, room, amount):
            return max(0.0, self._fades(self.before, room - self.current) - elapsed)
        return 1.0 - elapsed + self._fades(self.current, room)

    @staticmethod
    def _fits(used: float, room: float, amount: float) -> bool:
        return used <= room if amount else used < room

    @staticmethod
    def _fades(used: float, room: float) -> float:
        """Share of a bucket after which only `room` of what was used before it still counts."""
        return 1.0 - room / used if used > room else 0.0
