"""Several tenants at one engine: are there any, and how large batches may then be."""

from dataclasses import dataclass

from service.batching.compose import Composer
from service.batching.cost import CostModel
from service.batching.fair_queue import FairQueue

STAYS = 1.0
"""Seconds after its last request that a tenant counts as there."""
RATE = 0.6
"""The part of the best rate that a batch must reach while several tenants are there. What comes just after a batch has
begun waits for it and then rides in another, so that one tenant delays another by at most two batches. Simulated with
engines of a + b * rows seconds and b * rows up to 64 times a: at 0.6 the p99 beside a flood is 1.2 to 1.5 times that
alone, at 0.7 up to 2.4 times, at 1.0 up to 20 times."""
_STEP = 0.75
_SMALLEST = 1 / 64
"""The least share of a full batch: below it nothing is left to cut."""


@dataclass(slots=True)
class Company:
    """`several`: more than one tenant was seen, ever."""

    several: bool = False
    _last: str | None = None
    _until: float = float("-inf")
    _share: float = 1.0
    _looked: float = float("-inf")

    def comes(self, tenant: str, now: float) -> None:
        """A request of this tenant."""
        if tenant != self._last:
            if self._last is not None:
                self.several, self._until = True, now + STAYS
            self._last = tenant

    def share(self, composer: Composer, cost: CostModel, queue: FairQueue, now: float) -> float:
        """The share of a full batch that the next may have: the smallest that still has `RATE`; or a quarter of what
        waits of all but the tenant that has most, since small batches must not become the limit of the others.

        One batch in a while is a step smaller, so that it is known what that costs.
        """
        if now >= self._until:
            return 1.0
        if now >= self._looked + STAYS:
            self._looked, self._share = now, _small(composer, cost)
            return max(_SMALLEST, _STEP * self._share)
        costs = [flow.cost for flow in queue.flows.values()]
        if len(costs) < 2:
            return self._share
        most = max(shape.slots for shape in composer.shapes())
        return min(1.0, max(self._share, (sum(costs) - max(costs)) / most / 4))


def _small(composer: Composer, cost: CostModel) -> float:
    enough = RATE * cost.best_rate(composer.shapes())
    if enough == float("inf"):
        return 1.0
    share = 1.0
    while (less := share * _STEP) > _SMALLEST and cost.best_rate(composer.limited(less).shapes()) >= enough:
        share = less
    return share
