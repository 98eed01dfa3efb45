"""What went wrong with the engines of one model, counted for metrics."""

from dataclasses import dataclass


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
