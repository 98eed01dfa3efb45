"""How long a process that runs an engine may take before it counts as hung."""

from dataclasses import dataclass

from engines.batch import Batch

OPENING_SECONDS = 600.0
"""Opening and warming up: compiling a large model for a new device takes minutes."""
UNMEASURED_SECONDS = 60.0
"""A run of which nothing is known, and a step of a generator, which may hold the whole of a long prompt."""

_TIMES = 20
"""Batches of the same size differ by less, also on a machine whose cores are wanted by others."""
_LEAST_SECONDS = 1.0
"""A process may be kept from running for so long on a busy machine."""


@dataclass(frozen=True, slots=True)
class Watchdog:
    """`configured`: seconds for every batch; 0: judged by a warm one that took `seconds` for `elements` inputs."""

    configured: float = 0.0
    seconds: float = 0.0
    elements: int = 0

    def allowed(self, elements: int) -> float:
        """Seconds that a batch with so many elements in all its inputs may take; a larger one in proportion."""
        if self.configured:
            return self.configured
        if not self.elements:
            return UNMEASURED_SECONDS
        return max(_LEAST_SECONDS, _TIMES * self.seconds * max(1.0, elements / self.elements))


def elements(batch: Batch) -> int:
    """Elements in all inputs."""
    return sum(array.size for array in batch.inputs.values())
