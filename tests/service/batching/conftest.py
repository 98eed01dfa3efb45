"""Tickets by number, for tests that drive the scheduler with a virtual clock."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
import pytest

from service.batching.batcher import Batcher
from service.batching.levels import When
from service.batching.ticket import Answer, Ticket, Waiting

Submit = Callable[..., list[Ticket]]


def text(length: int) -> dict[str, np.ndarray]:
    return {"input_ids": np.arange(length, dtype=np.int64)}


def make_tickets(
    batcher: Batcher, costs: Sequence[int], *, now: float = 0.0, deadline: float = float("inf"), priority: int = 0
) -> list[Ticket]:
    """One request a cost, each of one text that long."""
    tickets = []
    for cost in costs:
        future: Future[list[Answer]] = Future()
        waiting = Waiting(future, [None], 1, now)
        tickets.append(batcher.ticket(waiting, 0, text(cost), 1, cost, When(now, deadline, priority)))
    return tickets


@pytest.fixture
def submit() -> Submit:
    def _submit(batcher: Batcher, costs: Sequence[int], *, now: float = 0.0, **when: float) -> list[Ticket]:
        tickets = make_tickets(batcher, costs, now=now, **when)
        for ticket in tickets:
            batcher.submit([ticket], now)
        return tickets

    return _submit
