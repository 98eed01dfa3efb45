"""Fair shares between tenants: whose turn it is, by what each was given so far, and what one may hold of a queue."""

from service.types import Tenant

_MOST_TAGS = 256
"""Tags that are kept before those that say nothing any more are dropped."""
_ALPHA = 4
"""Times the free room that a tenant may hold: one that floods has 4/5 of a queue, two have 4/9 each, so that there is
always room for the next."""


class VirtualTime:
    """Start-time fair queueing: P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queuing", SIGCOMM 1996.

    A tenant's next piece of work has a start tag: that of the one before, and `cost / weight` more, but never less than
    the virtual time, which is the start tag of what was taken last. The least tag is taken first. Whoever always has
    work waiting then gets its share by weight, and who comes seldom waits for one piece of each of the others.

    `credit`: cost by which a tenant of weight 1 that used less than its share may lag behind the virtual time, so that
    a burst of one that is modest on average goes first. All bounds of the paper grow by it.
    """

    def __init__(self, credit: float = 0.0) -> None:
        self._credit = credit
        self._now = 0.0
        self._tags: dict[str, float] = {}

    def start(self, tenant: Tenant) -> float:
        """The start tag of a tenant's next piece."""
        return max(self._now - self._credit, self._tags.get(tenant.name, 0.0))

    def begin(self, start: float) -> None:
        """The work with this start tag, the least that waits, is taken."""
        self._now = max(self._now, start)

    def charge(self, tenant: Tenant, cost: float) -> None:
        """A tenant's work of so much cost was taken."""
        if len(self._tags) >= _MOST_TAGS:
            self._tags = {name: tag for name, tag in self._tags.items() if tag > self._now - self._credit}
        self._tags[tenant.name] = self.start(tenant) + cost / tenant.weight

    def reset(self) -> None:
        """Nothing waits: nobody is owed anything."""
        if self._tags:
            self._now = 0.0
            self._tags.clear()


def most_held(free: int) -> int:
    """What a tenant may hold of a queue that others use too, where so much is free.

    Dynamic thresholds: A. K. Choudhury, E. L. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
    Switches", IEEE/ACM Transactions on Networking 6(2), 1998.
    """
    return _ALPHA * max(0, free)
