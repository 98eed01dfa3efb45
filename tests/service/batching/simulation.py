"""A batcher under load on a virtual clock: Poisson arrivals, engines whose batches take noisy times."""

import random
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from service.batching.batcher import Batcher
from service.batching.compose import Composition, StackComposer
from service.batching.cost import CostModel, Shape
from service.batching.levels import When
from service.batching.ticket import Answer, Ticket, Waiting
from service.errors import RetryLaterError
from service.types import ANYONE, Tenant, Timing

ROWS = 16
TENSORS = {"x": np.zeros((1, 1), np.float32)}
ANSWER = Answer({}, Timing())


def batch_seconds(rows: int) -> float:
    """A full batch takes 10 ms."""
    return 0.002 + 0.0005 * rows


PEAK = ROWS / batch_seconds(ROWS)
"""Requests a second that one instance answers in full batches."""

Slowness = Callable[[float, random.Random], float]
"""The factor by which a batch that starts now is slower than usual."""


def noisy(_: float, dice: random.Random) -> float:
    """A spread of a fifth, and one batch in fifty takes three times as long."""
    return dice.lognormvariate(0.0, 0.2) * (3.0 if dice.random() < 0.02 else 1.0)


@dataclass
class Outcome:
    """One request: when it came and when it was answered (None: it was not), and what was predicted."""

    arrival: float
    accepted: bool
    answered: float | None = None
    p95: float = 0.0


@dataclass
class Simulation:
    """`offered`: requests a second at a time. `deadline`: draws the seconds that a request has. `waits`: seconds until
    an instance that is free has its cores, at a time. `tenant`: who asks; `also` adds others. `of`: outcomes of each.
    """

    offered: Callable[[float], float]
    deadline: Callable[[random.Random], float] = lambda _: 0.1
    slowness: Slowness = noisy
    waits: Callable[[float], float] = lambda _: 0.0
    instances: int = 1
    seed: int = 0
    tenant: Tenant = ANYONE
    of: dict[str, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    outcomes: list[Outcome] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        cost = CostModel()
        for rows in (1, ROWS):
            cost.record(Shape(rows), batch_seconds(rows))
        self.batcher = Batcher(StackComposer(ROWS), cost, 1000, self.instances)
        self._dice = random.Random(self.seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        self._free = set(range(self.instances))
        self._waiting = False
        self.also(self.tenant, self.offered)

    def also(self, tenant: Tenant, offered: Callable[[float], float]) -> None:
        self._at(0.0, lambda now: self._arrive(tenant, offered, now))

    def run(self, seconds: float) -> list[Outcome]:
        while self._events and self._events[0][0] <= seconds:
            now, _, event = heappop(self._events)
            event(now)
        return self.outcomes

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        self._count += 1
        heappush(self._events, (when, self._count, event))

    def _arrive(self, tenant: Tenant, offered: Callable[[float], float], now: float) -> None:
        pause = self._dice.expovariate(offered(now))
        self._at(now + pause, lambda when: self._arrive(tenant, offered, when))
        future: Future[list[Answer]] = Future()
        waiting = Waiting(future, [None], 1, now, tenant=tenant)
        deadline = now + self.deadline(self._dice)
        ticket = self.batcher.ticket(waiting, 0, TENSORS, 1, 1, When(now, deadline))
        outcome = Outcome(now, accepted=False)
        self.outcomes.append(outcome)
        self.of[tenant.name].append(outcome)
        try:
            self.batcher.submit([ticket], now)
        except RetryLaterError:
            return
        outcome.accepted, outcome.p95 = True, waiting.predicted.p95
        future.add_done_callback(lambda done: self._settle(outcome, waiting, done))
        if deadline < float("inf"):
            self._at(deadline, lambda when: self._give_up(waiting, when))
        self._next(now)

    def _settle(self, outcome: Outcome, waiting: Waiting, done: "Future[list[Answer]]") -> None:
        if done.exception() is None:
            outcome.answered = waiting.arrival + waiting.actual

    def _give_up(self, waiting: Waiting, now: float) -> None:
        if not waiting.future.done():
            self.batcher.calibration.given_up(waiting, now)
            waiting.fail(TimeoutError())

    def _next(self, now: float) -> None:
        if not self._free or self._waiting:
            return
        if pause := self.waits(now):
            self._waiting = True
            self._at(now + pause, self._take)
        else:
            self._take(now)

    def _take(self, now: float) -> None:
        self._waiting = False
        while self._free:
            instance = min(self._free)
            taken = self.batcher.take(instance, now)
            for ticket in taken.expired:
                self._give_up(ticket.waiting, ticket.deadline)
            if taken.batch is None:
                return
            self._free.remove(instance)
            self._start(instance, taken.batch, now)

    def _start(self, instance: int, batch: Composition, now: float) -> None:
        seconds = batch_seconds(batch.shape.rows) * self.slowness(now, self._dice)
        self.batches.append(len(batch.tickets))
        self._at(now + seconds, lambda when: self._finish(instance, batch, seconds, when))

    def _finish(self, instance: int, batch: Composition, seconds: float, now: float) -> None:
        self.batcher.finished(instance, batch, seconds, now)
        ended = [ticket.waiting for ticket in batch.tickets if answer(ticket, now)]
        self.batcher.calibration.answered(ended, now)
        self._free.add(instance)
        self._next(now)


def answer(ticket: Ticket, now: float) -> bool:
    return ticket.waiting.answer(0, ANSWER, now)
