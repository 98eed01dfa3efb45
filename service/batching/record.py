"""What one executed batch was, for metrics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """`requests`: parts in the batch; `rows`: their rows. `tokens`: their cost; `slots`: what the engine computed."""

    model: str
    version: str
    requests: int
    rows: int
    tokens: int
    slots: int
    compute_seconds: float
    failed: bool = False
