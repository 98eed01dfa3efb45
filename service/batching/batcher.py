"""The queue of one model and what is taken from it. No threads, no clock of its own: the time is an argument."""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.model_config import DynamicBatching
from engines.tensor import Tensors
from service.batching.bulk import Bulk
from service.batching.calibration import Calibration
from service.batching.company import Company
from service.batching.compose import Composer, Composition
from service.batching.cost import CostModel
from service.batching.fair_queue import FairQueue
from service.batching.levels import Levels, When
from service.batching.memory import MemoryBudget
from service.batching.prediction import Forecast, hopeless
from service.batching.room import Counted, Room
from service.batching.ticket import BULK, Outlook, Ticket, Waiting
from service.batching.waitlist import Waitlist
from service.errors import QueueFullError
from service.fair import VirtualTime
from service.types import ANYONE, Prediction, Tenant

PROBE = 0.1
"""Seconds after the last batch from which an idle model lets one request try a deadline that it is not thought to make,
or a machine that was slow for a while would never be measured again."""
_CROWD = 3.0
"""Tickets due within so many full batches crowd each other: one that is too late for a full batch is then given up,
since a smaller batch for its sake would make the others late."""
_CREDIT = 4
"""Full batches by which a tenant may lag behind its share: a burst of so much goes first."""
_SWEEP = 0.01
"""Seconds between two looks for callers that left a full queue, which must not cost every refusal a look."""


@dataclass(slots=True)
class Taken:
    """What a worker gets: a batch, or the time at which to ask again (None: when something is submitted).

    `expired`: tickets the queue gave up, for the caller to fail. `number`: counts the batches taken, from 0.
    """

    batch: Composition | None = None
    again: float | None = None
    expired: Sequence[Ticket] = ()
    number: int = -1


class Batcher:
    """Waiting tickets in the order they are due, and those of several tenants by fair shares. `max_queue`: parts that
    may wait; `instances`: batches run at once.

    `calibration` belongs to the event loop, on which requests come and are answered; the rest to whoever holds the
    replica's lock.
    """

    def __init__(
        self,
        composer: Composer,
        cost: CostModel,
        max_queue: int,
        instances: int = 1,
        settings: DynamicBatching | None = None,
    ) -> None:
        self.composer = composer
        self.settings = settings or DynamicBatching()
        self.calibration = Calibration()
        self.forecast = Forecast.of(composer, cost, instances)
        self._cost = cost
        self.max_queue = max_queue
        self._room = Room(max_queue)
        self._levels = Levels(self.settings)
        full = max(shape.slots for shape in composer.shapes())
        self._urgent = FairQueue(VirtualTime(_CREDIT * full))
        self._suspects = Waitlist()
        self._bulk = Bulk()
        self._queues = (self._urgent, self._suspects, self._bulk.waiting)
        self._memory = MemoryBudget()
        self._company = Company()
        self._share = 1.0
        self._swept = float("-inf")
        self._measured = float("-inf")
        self._taken = 0

    def __len__(self) -> int:
        waits = len(self._urgent) + len(self._suspects.tickets)
        return waits + len(self._bulk.waiting) if self._bulk.waiting.flows else waits

    def ticket(self, waiting: Waiting, part: int, tensors: Tensors, rows: int, cost: int, when: When) -> Ticket:
        """See `Levels.ticket`."""
        return self._levels.ticket(waiting, part, tensors, rows, cost, when)

    def submit(self, tickets: Sequence[Ticket], now: float) -> None:
        """Queues all parts of a request or none, and writes down when its answer is expected.

        Raises `QueueFullError` or `DeadlineHopelessError` with the time to come back, `InvalidRequestError` where the
        queue never holds so many, and what the composer raises where no batch can be made of a ticket.
        """
        waiting = tickets[0].waiting
        self._company.comes(waiting.tenant.name, now)
        self._check_room(tickets, now)
        outlook = self._outlook(tickets, now)
        predicted = self.calibration.predict(outlook, now)
        left = tickets[0].deadline - now
        if predicted.p95 > left and not self._costs_nobody(predicted, left):
            if not self._may_probe(now):
                raise hopeless(predicted, left, PROBE)
            for ticket in tickets:
                ticket.alone = 0.0
        if outlook.seconds:
            waiting.outlook, waiting.predicted = outlook, predicted
        for ticket in tickets:
            if ticket.bulk and not self.settings.preserve_ordering:
                self._bulk.add(ticket, predicted.p95)
            else:
                self._urgent.add(ticket)

    def predict(self, cost: int, deadline: float, now: float, tenant: Tenant = ANYONE) -> Prediction:
        """When a request of so much cost would be answered if it came now."""
        due = self._levels.due(When(now, deadline))
        shape = self.composer.of(cost)
        last = min(cost, shape.slots)
        ahead, along = self._urgent.ahead(tenant, due)
        ahead += self._risky() + cost - last
        outlook = self.forecast.outlook(ahead, last, self._cost.predict(shape), now, due - now, along)
        return self.calibration.predict(outlook, now)

    def _outlook(self, tickets: Sequence[Ticket], now: float) -> Outlook:
        last = tickets[0]
        costs, bulk = 0, False
        for ticket in tickets:
            ticket.alone = self._cost.predict(self.composer.alone(ticket))
            if ticket.alone > last.alone:
                last = ticket
            costs += ticket.cost
            bulk = bulk or ticket.bulk
        others = costs - last.cost
        if not bulk:
            ahead, along = self._urgent.ahead(last.waiting.tenant, last.due)
            ahead += self._risky() + others
            return self.forecast.outlook(ahead, last.cost, last.alone, now, last.due - now, along)
        instances = self.forecast.instances
        before, _ = self._bulk.waiting.ahead(last.waiting.tenant, float("inf"))
        ahead = self._urgent.cost + instances / Bulk.most(instances) * (before + others)
        return self.forecast.outlook(ahead, last.cost, last.alone, now, 0.0)._replace(load=BULK)

    def _risky(self) -> int:
        """What the suspects, which run alone, take of the engine in the cost of full batches."""
        return len(self._suspects) * self.forecast.full()[0] if self._suspects.tickets else 0

    def _costs_nobody(self, predicted: Prediction, left: float) -> bool:
        """Would an engine stand idle instead, though the answer is more likely to be in time than not?"""
        return predicted.seconds <= left and self.forecast.free and not len(self)

    def _may_probe(self, now: float) -> bool:
        if len(self) or not self.forecast.idle or now < self._measured + PROBE:
            return False
        self._measured = now
        return True

    def _check_room(self, tickets: Sequence[Ticket], now: float) -> None:
        bound = self._levels.policy(tickets[0].level).max_queue_size
        if not bound and not self._company.several and len(self) + len(tickets) <= self.max_queue:
            return
        over, why = self._over(tickets, bound)
        if over > 0 and now >= self._swept + _SWEEP:
            self._swept = now
            for queue in self._queues:
                queue.drop_gone()
            over, why = self._over(tickets, bound)
        if over > 0:
            raise QueueFullError(why, self.forecast.drain(over * sum(one.cost for one in self._queues) / len(self)))

    def _over(self, tickets: Sequence[Ticket], bound: int) -> tuple[int, str]:
        """See `Room.over`. `bound`: of the priority level, 0 for none."""
        level, tenant = tickets[0].level, tickets[0].waiting.tenant
        alike = sum(ticket.level == level for ticket in self._urgent.tickets) if bound else 0
        held = self._urgent.held(tenant) + self._bulk.waiting.held(tenant) if self._company.several else 0
        return self._room.over(len(tickets), Counted(len(self), alike, bound, held))

    def take(self, instance: int, now: float) -> Taken:
        """The next batch for an instance that is free now. Cancelled tickets are dropped, hopeless ones refused."""
        expired = self._expire(now)
        for ticket in self._bulk.ripe(now):
            self._urgent.add(ticket)
        try:
            source, batch = self._choose(now)
        except Exception:
            for ticket in expired:  # or nobody would ever tell them
                self._urgent.add(ticket)
            raise
        if batch is None:
            return Taken(again=self._bulk.next(), expired=expired)
        again = self._wait_until(batch, now) if source is self._urgent else None
        if again is not None:
            return Taken(again=again, expired=expired)
        source.remove(batch.tickets)
        if source is self._bulk.waiting:
            self._bulk.running.add(instance)
        self.forecast.starts(instance, batch.shape, now)
        self._taken += 1
        return Taken(batch, expired=expired, number=self._taken - 1)

    def _choose(self, now: float) -> tuple[FairQueue | Waitlist, Composition | None]:
        """What is most urgent, and where it waits. Suspects run alone, so that the one at fault is found; one that lost
        an engine alone waits until all are there again: it must not take the last one from everybody else."""
        urgent, suspects, bulk = self._urgent, self._suspects.tickets, self._bulk
        risky = suspects and suspects[0].lone_losses and not self.forecast.complete
        if suspects and not risky and not (urgent.flows and urgent.first().due < suspects[0].due):
            return self._suspects, self.composer.arrange(suspects[:1])
        composer = self._fitting(now)
        if urgent.flows:
            return urgent, composer.compose(urgent.in_turn(composer.reach), self._cost, now)
        if bulk.waiting.flows and len(bulk.running) < bulk.most(self.forecast.instances):
            return bulk.waiting, bulk.compose(composer, self._cost, now)
        return urgent, None

    def _fitting(self, now: float) -> Composer:
        """What makes batches that fit into the memory there is, and keep no other tenant waiting for long."""
        share = min(self._memory.at(now), self._company.share(self.composer, self._cost, self._urgent, now))
        if share != self._share:
            self._share = share
            self.forecast.limit(self.composer if share == 1.0 else self.composer.limited(share))
        return self.forecast.composer

    def finished(self, instance: int, batch: Composition, seconds: float | None, now: float) -> None:
        """An instance is free again; `seconds` None: the batch failed and teaches nothing."""
        self._bulk.running.discard(instance)
        self.forecast.ended(instance, batch.shape, seconds)
        self._measured = now

    def too_large(self, slots: int, now: float) -> None:
        """A batch of so many slots did not fit into memory."""
        most = max(shape.slots for shape in self.composer.shapes())
        self._memory.failed(slots / most, now)

    def lost(self, instance: int, tickets: Sequence[Ticket]) -> None:
        """An instance lost its engine, which left these unanswered: they wait again, where they were due."""
        self._bulk.running.discard(instance)
        self.forecast.leaves(instance)
        self.again(tickets)

    def again(self, tickets: Sequence[Ticket]) -> None:
        """A lost engine left these unanswered: they wait again, where they were due."""
        for ticket in tickets:
            (self._suspects if ticket.suspect else self._urgent).add(ticket)

    def reopened(self, instance: int) -> None:
        """An instance has another engine."""
        self.forecast.returns(instance)

    def hurry(self) -> None:
        """Nothing that comes is more urgent any more: bulk tickets are taken like all others."""
        for ticket in self._bulk.waiting.clear():
            self._urgent.add(ticket)

    def blame(self, now: float) -> list[Ticket]:
        """Takes out what made `take` raise: the tickets of which no batch can be made even alone, else all."""
        tickets = [ticket for queue in self._queues for ticket in queue.tickets]
        guilty = [ticket for ticket in tickets if not self._composes(ticket, now)] or tickets
        for queue in self._queues:
            queue.remove(guilty)
        return guilty

    def _composes(self, ticket: Ticket, now: float) -> bool:
        try:
            self.composer.compose([ticket], self._cost, now)
        except Exception:
            return False
        return True

    def close(self) -> list[Ticket]:
        """Empties the queue; returns what waited."""
        return [*self._urgent.clear(), *self._suspects.clear(), *self._bulk.waiting.clear()]

    def _expire(self, now: float) -> list[Ticket]:
        expired: list[Ticket] = []
        for flow in self._urgent.flows.values():
            slots, seconds = self.forecast.full()
            crowd = flow.cost_before(now + _CROWD * seconds) - flow.tickets[0].cost
            expired += flow.sift(now, min(1.0, max(0, crowd) / slots), seconds)
            self._levels.delay(flow, now)
        if self._suspects.tickets:
            expired += self._suspects.sift(now)
        self._urgent.tidy()
        if self._bulk.waiting.flows:
            for flow in self._bulk.waiting.flows.values():
                expired += flow.sift(now)
            self._bulk.waiting.tidy()
        return expired

    def _wait_until(self, batch: Composition, now: float) -> float | None:
        delay = self.settings.max_queue_delay_microseconds / 1e6
        if not delay:
            return None
        wanted = self.settings.preferred_batch_sizes
        full = batch.shape.slots >= max(shape.slots for shape in self.forecast.composer.shapes())
        enough = batch.shape.rows in wanted if wanted else len(batch.tickets) < len(self._urgent)
        until = min(ticket.arrival for ticket in self._urgent.tickets) + delay
        return None if full or enough or until <= now else until
