"""What becomes of the requests that an engine had in it when it was lost."""

from collections.abc import Sequence

from engines.errors import EngineLostError
from service.batching.ticket import Ticket
from service.errors import EngineFailedError

LONE_LOSSES = 2
"""Engines that a ticket may lose alone before it is guilty: a process can be killed by others once, and twice with the
same request in it is no chance any more."""


def suspect(tickets: Sequence[Ticket], *, alone: bool) -> None:
    """An engine was lost while it ran these. `alone`: it ran nothing but the one."""
    for ticket in tickets:
        ticket.losses += 1
        ticket.lone_losses += alone


def is_guilty(ticket: Ticket) -> bool:
    """Did it lose so many engines alone that it is not tried again?"""
    return ticket.lone_losses >= LONE_LOSSES


def guilt(lost: EngineLostError) -> EngineFailedError:
    """What the caller of a guilty ticket is told."""
    text = f"the engine was lost {LONE_LOSSES} times while it ran nothing but this request: {lost}"
    return EngineFailedError(text, retryable=False)
