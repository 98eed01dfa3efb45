"""What one executed batch was, for metrics."""

from dataclasses import dataclass

from service.batching.ticket import Answer
from service.batching.worker import Executed


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """`requests`: parts in the batch; `rows`: their rows. `tokens`: their cost; `slots`: what the engine computed.

    `compute_seconds`: of them `input_seconds` to lay the batch out, `output_seconds` to take it apart. `answered`:
    rows that were answered, or will be.
    """

    model: str
    version: str
    requests: int
    rows: int
    tokens: int
    slots: int
    compute_seconds: float
    input_seconds: float = 0.0
    output_seconds: float = 0.0
    answered: int = 0


def record_of(model: str, version: str, executed: Executed) -> BatchRecord:
    """The record of a batch of this model."""
    batch = executed.batch
    rows = sum(ticket.rows for ticket in batch.tickets)
    return BatchRecord(
        model=model,
        version=version,
        requests=len(batch.tickets),
        rows=rows,
        tokens=batch.tokens,
        slots=batch.layout.slots,
        compute_seconds=executed.seconds,
        input_seconds=executed.input_seconds,
        output_seconds=executed.output_seconds,
        answered=_answered(executed, rows),
    )


def _answered(executed: Executed, rows: int) -> int:
    """Where all went well, what has no result yet is answered later, call by call."""
    if executed.failed:
        return sum(ticket.rows for ticket, result in executed.results if isinstance(result, Answer))
    return rows - sum(ticket.rows for ticket, result in executed.results if not isinstance(result, Answer))
