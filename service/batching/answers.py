"""The answers of a request's parts as one, and what is told of them."""

from collections.abc import Sequence

import numpy as np

from service.batching.ticket import Answer
from service.errors import InvalidRequestError
from service.types import Join, Outputs, Timing


def joined(answers: Sequence[Answer], join: Join | None) -> Outputs:
    """One answer of those of all parts, laid end to end where `join` does not say how; raises `BatchyardError`."""
    parts = [answer.outputs for answer in answers]
    return join(parts) if join else _laid_end_to_end(parts)


def _laid_end_to_end(parts: Sequence[Outputs]) -> Outputs:
    first = parts[0]
    if len(parts) == 1:
        return first
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in first}
    except (KeyError, ValueError) as error:
        raise InvalidRequestError(f"the answers make no one tensor, send each text alone: {error}") from None


def timing_of(answers: Sequence[Answer]) -> Timing:
    """The longest wait, the last batch, and what all of them cost."""
    last = answers[-1].timing
    if len(answers) == 1:
        return last
    queue = max(answer.timing.queue for answer in answers)
    compute = max(answer.timing.compute for answer in answers)
    timing = Timing(
        queue, compute, last.batch_size, last.batch_tokens, last.batch_slots, input=last.input, output=last.output
    )
    timing.engine_seconds = sum([answer.timing.engine_seconds for answer in answers])
    return timing
