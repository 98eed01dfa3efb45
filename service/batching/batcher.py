"""The queue of one model and what is taken from it. No threads, no clock of its own: the time is an argument."""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from engines.model_config import DynamicBatching, QueuePolicy
from engines.tensor import Tensors
from service.batching.compose import Composer, Composition
from service.batching.cost import CostModel
from service.batching.ticket import Ticket, Waiting
from service.errors import DeadlineHopelessError, InvalidRequestError, QueueFullError
from service.types import AGING

PATIENCE = 1.0
"""Seconds: a ticket whose deadline is further off is due this long after its arrival, so that it overtakes in time."""
_DELAYED = 3600.0
_DEEP = 256
"""Tickets from which a queue may be too long for deadlines beyond `PATIENCE`, too."""

_by_due = attrgetter("due")


@dataclass(slots=True)
class Taken:
    """What a worker gets: a batch, or the time at which to ask again (None: when something is submitted).

    `expired`: tickets the queue gave up, for the caller to fail. `number`: counts the batches taken, from 0.
    """

    batch: Composition | None = None
    again: float | None = None
    expired: Sequence[Ticket] = ()
    number: int = -1


@dataclass(frozen=True, slots=True)
class When:
    """When a request came, when it must be answered, and its priority (0: the model's default)."""

    arrival: float
    deadline: float
    priority: int = 0


@dataclass(slots=True)
class Batcher:
    """Waiting tickets in the order they are due. `max_queue`: parts that may wait; `instances`: batches run at once."""

    composer: Composer
    cost: CostModel
    max_queue: int
    instances: int = 1
    settings: DynamicBatching = field(default_factory=DynamicBatching)
    _pending: list[Ticket] = field(default_factory=list)
    _running: dict[int, float] = field(default_factory=dict)
    _taken: int = 0

    def __len__(self) -> int:
        return len(self._pending)

    def ticket(self, waiting: Waiting, part: int, tensors: Tensors, rows: int, cost: int, when: When) -> Ticket:
        """A ticket with the due time and the expiry that the queue policy of its priority gives it."""
        level = self._level(when.priority)
        policy = self._policy(level)
        timeout = policy.default_timeout_microseconds / 1e6
        expires = when.deadline
        if timeout and policy.timeout_action == "REJECT":
            expires = min(expires, when.arrival + timeout)
        due = min(when.deadline, when.arrival + PATIENCE) + (level - 1) * AGING
        if self.settings.preserve_ordering:
            due = when.arrival
        return Ticket(waiting, part, tensors, rows, cost, when.arrival, when.deadline, due, expires, level)

    def submit(self, tickets: Sequence[Ticket], now: float) -> None:
        """Queues all of them or none: raises `QueueFullError` or `DeadlineHopelessError` with the time to come back.

        More tickets than the queue ever holds are an `InvalidRequestError`.
        """
        self._check_room(tickets)
        deadline = tickets[0].deadline
        if deadline < now + PATIENCE or len(self._pending) >= _DEEP:
            finish = self.predict_finish(tickets, now)
            if finish > deadline:
                raise DeadlineHopelessError(
                    f"deadline in {1000 * (deadline - now):.0f} ms cannot be met: the answer is predicted in "
                    f"{1000 * (finish - now):.0f} ms",
                    finish - deadline,
                )
        self._queue(tickets)

    def _queue(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            insort(self._pending, ticket, key=_by_due)

    def _check_room(self, tickets: Sequence[Ticket]) -> None:
        if len(self._pending) + len(tickets) > self.max_queue:
            self._drop_gone()
        level = tickets[0].level
        bound = self._policy(level).max_queue_size
        waiting = sum(ticket.level == level for ticket in self._pending) if bound else 0
        most = min(bound or self.max_queue, self.max_queue)
        if len(tickets) > most:
            raise InvalidRequestError(
                f"the request has {len(tickets)} parts, the queue holds {most}; send them in several requests"
            )
        over = max(len(self._pending) + len(tickets) - self.max_queue, waiting + len(tickets) - bound if bound else 0)
        if over > 0:
            raise QueueFullError(
                f"the queue is full: {len(self._pending)} parts wait, {most} may, the request has {len(tickets)}",
                self._drain_seconds(self._pending[:over]),
            )

    def predict_finish(self, tickets: Sequence[Ticket], now: float) -> float:
        """When these tickets would be answered if they came now: running batches, those due earlier, then their own."""
        ahead = self._pending[: bisect_right(self._pending, tickets[0].due, key=_by_due)]
        own = max(self.cost.predict(self.composer.alone(ticket)) for ticket in tickets)
        rest = self._drain_seconds(tickets[1:])
        return max(now, min(self._running.values(), default=now)) + self._drain_seconds(ahead) + own + rest

    def load(self, now: float) -> float:
        """Predicted seconds until all that waits and runs is done."""
        running = max(0.0, min(self._running.values(), default=now) - now)
        return running + self._drain_seconds(self._pending)

    def _drain_seconds(self, tickets: Sequence[Ticket]) -> float:
        rate = self.cost.best_rate(self.composer.shapes()) * self.instances
        return sum(ticket.cost for ticket in tickets) / rate

    def take(self, instance: int, now: float) -> Taken:
        """The next batch for an instance that is free now. Cancelled tickets are dropped, hopeless ones refused."""
        self._drop_gone()
        expired = self._expire(now)
        if not self._pending:
            return Taken(expired=expired)
        try:
            batch = self.composer.compose(self._pending, self.cost, now)
        except Exception:
            self._queue(expired)  # or nobody would ever tell them
            raise
        again = self._wait_until(batch, now)
        if again is not None:
            return Taken(again=again, expired=expired)
        self._remove(batch.tickets)
        self._running[instance] = now + self.cost.predict(batch.shape)
        self._taken += 1
        return Taken(batch, expired=expired, number=self._taken - 1)

    def finished(self, instance: int, batch: Composition, seconds: float | None) -> None:
        """An instance is free again; `seconds` None: the batch failed and teaches nothing."""
        self._running.pop(instance, None)
        if seconds is not None:
            self.cost.record(batch.shape, seconds)

    def blame(self, now: float) -> list[Ticket]:
        """Takes out what made `take` raise: the tickets of which no batch can be made even alone, else all."""
        guilty = [ticket for ticket in self._pending if not self._composes(ticket, now)] or self._pending
        self._remove(guilty)
        return guilty

    def _composes(self, ticket: Ticket, now: float) -> bool:
        try:
            self._doomed(ticket, now)
            self.composer.compose([ticket], self.cost, now)
        except Exception:
            return False
        return True

    def _remove(self, tickets: Sequence[Ticket]) -> None:
        out = set(map(id, tickets))
        self._pending = [ticket for ticket in self._pending if id(ticket) not in out]

    def close(self) -> list[Ticket]:
        """Empties the queue; returns what waited."""
        left, self._pending = self._pending, []
        return left

    def _drop_gone(self) -> None:
        self._pending = [ticket for ticket in self._pending if not ticket.gone]

    def _expire(self, now: float) -> list[Ticket]:
        expired = [ticket for ticket in self._pending if ticket.expires <= now or self._doomed(ticket, now)]
        if expired:
            self._remove(expired)
        late = [ticket for ticket in self._pending if self._delayed(ticket, now)]
        for ticket in late:
            ticket.due += _DELAYED
        if late:
            self._pending.sort(key=_by_due)
        return expired

    def _doomed(self, ticket: Ticket, now: float) -> bool:
        left = ticket.deadline - now
        return left < PATIENCE and left < self.cost.predict(self.composer.alone(ticket))

    def _delayed(self, ticket: Ticket, now: float) -> bool:
        policy = self._policy(ticket.level)
        timeout = policy.default_timeout_microseconds / 1e6
        return (
            bool(timeout)
            and policy.timeout_action == "DELAY"
            and ticket.arrival + timeout < now
            and ticket.due < now + _DELAYED / 2
        )

    def _wait_until(self, batch: Composition, now: float) -> float | None:
        delay = self.settings.max_queue_delay_microseconds / 1e6
        if not delay:
            return None
        wanted = self.settings.preferred_batch_sizes
        full = batch.shape.slots >= max(shape.slots for shape in self.composer.shapes())
        enough = batch.shape.rows in wanted if wanted else len(batch.tickets) < len(self._pending)
        until = min(ticket.arrival for ticket in self._pending) + delay
        return None if full or enough or until <= now else until

    def _level(self, priority: int) -> int:
        levels = self.settings.priority_levels
        if not levels:
            return 1
        return priority if 0 < priority <= levels else self.settings.default_priority_level

    def _policy(self, level: int) -> QueuePolicy:
        return self.settings.priority_queue_policies.get(level, self.settings.default_queue_policy)
