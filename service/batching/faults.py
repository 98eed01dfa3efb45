"""What went wrong with the engines of one model, counted for metrics."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass


@dataclass(slots=True)
class Faults:
    """`restarts`: engines opened anew. `poison`: rows found to make batches fail. `quarantined`: rows that are refused
    now. `splits`: batches that were cut in two to find such rows. `memory_errors`: batches that did not fit.
    """

    restarts: int = 0
    poison: int = 0
    quarantined: int = 0
    splits: int = 0
    memory_errors: int = 0


def total(several: Iterable[Faults]) -> Faults:
    """Of several replicas of one model."""
    return Faults(*(sum(counts) for counts in zip(*map(astuple, several), strict=True)))
