"""How large batches may be where the device runs out of memory."""

from dataclasses import dataclass

RECOVERY = 30.0
"""Seconds without such an error after which the budget doubles again: what held the memory may be gone, and to find
that it is not costs one batch that is run in halves."""
LEAST = 1 / 4096
"""The share that is one ticket in every batch."""


@dataclass(slots=True)
class MemoryBudget:
    """The share of a full batch that fits. Halved by every batch that did not fit, doubled after `RECOVERY`."""

    share: float = 1.0
    _since: float = 0.0

    def failed(self, share: float, now: float) -> None:
        """A batch of this share of a full one did not fit."""
        self.share = max(LEAST, min(self.share, share) / 2)
        self._since = now

    def at(self, now: float) -> float:
        """The share that batches may have now."""
        while self.share < 1.0 and now >= self._since + RECOVERY:
            self.share = min(1.0, 2 * self.share)
            self._since += RECOVERY
        return self.share
