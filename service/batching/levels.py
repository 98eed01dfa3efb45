"""When a ticket is due, and when the queue gives it up: deadline, patience, priority, and Triton's queue policies."""

from dataclasses import dataclass, field

from engines.model_config import DynamicBatching, QueuePolicy
from engines.tensor import Tensors
from service.batching.ticket import Ticket, Waiting
from service.batching.waitlist import Waitlist
from service.types import AGING

PATIENCE = 1.0
"""Seconds: a ticket whose deadline is further off is due this long after its arrival, so that it overtakes in time."""
_DELAYED = 3600.0


@dataclass(frozen=True, slots=True)
class When:
    """When a request came, when it must be answered, and its priority (0: the model's default)."""

    arrival: float
    deadline: float
    priority: int = 0


@dataclass(slots=True)
class Levels:
    """The priority levels of a model and their queue policies."""

    settings: DynamicBatching
    _delays: bool = field(init=False)
    _default: QueuePolicy = field(init=False)

    def __post_init__(self) -> None:
        self._default = self.settings.default_queue_policy
        policies = (self._default, *self.settings.priority_queue_policies.values())
        self._delays = any(policy.timeout_action == "DELAY" for policy in policies)

    def ticket(self, waiting: Waiting, part: int, tensors: Tensors, rows: int, cost: int, when: When) -> Ticket:
        """A ticket with the due time and the expiry that the queue policy of its priority gives it."""
        level = self._level(when.priority)
        policy = self.policy(level)
        timeout = policy.default_timeout_microseconds / 1e6
        expires = when.deadline
        if timeout and policy.timeout_action == "REJECT":
            expires = min(expires, when.arrival + timeout)
        due = self.due(when, level)
        return Ticket(waiting, part, tensors, rows, cost, when.arrival, when.deadline, due, expires, level)

    def due(self, when: When, level: int = 1) -> float:
        """When a request of this level is due."""
        if self.settings.preserve_ordering:
            return when.arrival
        return min(when.deadline, when.arrival + PATIENCE) + (level - 1) * AGING

    def delay(self, waiting: Waitlist, now: float) -> None:
        """Puts those that waited longer than a policy allows behind all others; among themselves they keep order."""
        if self._delays:
            late = [ticket for ticket in waiting.tickets if self._late(ticket, now)]
            for ticket in late:
                ticket.due += _DELAYED
            if late:
                waiting.sort()

    def _late(self, ticket: Ticket, now: float) -> bool:
        policy = self.policy(ticket.level)
        timeout = policy.default_timeout_microseconds / 1e6
        delays = bool(timeout) and policy.timeout_action == "DELAY"
        return delays and ticket.arrival + timeout < now and ticket.due < now + _DELAYED / 2

    def _level(self, priority: int) -> int:
        levels = self.settings.priority_levels
        if not levels:
            return 1
        return priority if 0 < priority <= levels else self.settings.default_priority_level

    def policy(self, level: int) -> QueuePolicy:
        """The queue policy of a level."""
        policies = self.settings.priority_queue_policies
        return policies.get(level, self._default) if policies else self._default
