"""A model's engine instances on this machine behind one queue: threads pull batches, the event loop settles callers."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock

import numpy as np

from engines.base import Engine
from service.batching.batcher import Batcher, Taken, When
from service.batching.compose import Composition
from service.batching.record import BatchRecord
from service.batching.ticket import Answer, Ticket, Waiting
from service.batching.worker import Clock, Executed, Worker, not_composed
from service.cores import CoreBudget
from service.errors import (
    BatchyardError,
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
)
from service.generating import GenerateRequest, Generation, cannot_generate
from service.owner import Owned
from service.types import InferResponse, Job, Outputs, Prediction, Timing

LOGGER = logging.getLogger("batchyard.batching")

_FAR = 1e6
"""Seconds: what a timer takes for a deadline that never comes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose replica this is. `threads`: CPU cores one batch uses, 0 where another device computes."""

    model: str
    version: str
    engine: str
    threads: int


class LocalReplica:
    """Implements `service.routing.replica.Replica` over engines of this process.

    Each engine is owned by one thread, which composes its next batch itself at the moment it is free, so that
    backlog fills batches. `observe` is told of every batch on the event loop.
    """

    def __init__(
        self,
        identity: Identity,
        engines: Sequence[Owned[Engine]],
        batcher: Batcher,
        cores: CoreBudget,
        clock: Clock,
        observe: Callable[[BatchRecord], None],
    ) -> None:
        self.identity = identity
        self.name = f"{identity.model}:{identity.version}"
        self._batcher = batcher
        self._cores = cores
        self._clock = clock
        self._observe = observe
        self._lock = Lock()
        self._wakes: list[SimpleQueue[None]] = [SimpleQueue() for _ in engines]
        self._idle: list[int] = []
        self._closed = False
        self._settled = 0
        self._early: dict[int, Executed] = {}
        self._held: dict[int, Composition] = {}
        self._loop = asyncio.get_running_loop()
        self._owners = [owned.owner for owned in engines]
        for number, owned in enumerate(engines):
            owned.owner.start(partial(self._serve, number, owned.engine))

    @property
    def pending(self) -> int:
        """Parts that wait."""
        return len(self._batcher)

    @property
    def fault(self) -> str:
        """Why it cannot answer; "" if it can."""
        return "it is being unloaded" if self._closed else ""

    def predict(self, cost: int) -> Prediction:
        """See `Replica`."""
        with self._lock:
            seconds = self._batcher.load(self._clock())
        return Prediction(seconds, seconds, seconds)

    async def infer(self, job: Job) -> InferResponse:
        """Answers a job; raises `BatchyardError`. Cancelling the awaiting task drops its tickets."""
        request = job.request
        now = self._clock()
        future: asyncio.Future[list[Answer]] = self._loop.create_future()
        waiting = Waiting(future, [None] * len(job.parts), len(job.parts))
        when = When(now, request.deadline, request.priority)
        make = self._batcher.ticket
        tickets = [
            make(waiting, part, tensors, job.rows, job.costs[part], when) for part, tensors in enumerate(job.parts)
        ]
        self._submit(tickets, now)
        timer = self._loop.call_later(min(request.deadline - now, _FAR), _too_late, waiting, request.deadline - now)
        try:
            return self._response(await future, job)
        finally:
            timer.cancel()

    def _submit(self, tickets: Sequence[Ticket], now: float) -> None:
        with self._lock:
            if self._closed:
                raise ModelUnavailableError(f"model {self.name} cannot answer: {self.fault}")
            self._batcher.submit(tickets, now)
            for number in self._idle[-len(tickets) :]:
                self._wakes[number].put(None)
            del self._idle[-len(tickets) :]

    def _response(self, answers: Sequence[Answer], job: Job) -> InferResponse:
        identity = self.identity
        parts = [answer.outputs for answer in answers]
        outputs = job.join(parts) if job.join else _laid_end_to_end(parts)
        tokens = sum(job.costs) if job.tokens is None else job.tokens
        return InferResponse(identity.model, identity.version, outputs, identity.engine, _timing(answers), tokens)

    def _serve(self, number: int, engine: Engine) -> None:
        worker = Worker(engine, self._batcher.composer, self._clock)
        while (taken := self._next(number)).batch is not None:
            executed = worker.execute(taken.batch)
            self._cores.release(self.identity.threads)
            with self._lock:
                del self._held[number]
                self._batcher.finished(number, taken.batch, None if executed.failed else executed.seconds)
            self._tell(self._finished, taken.number, executed)
        engine.close()

    def _next(self, number: int) -> Taken:
        """Blocks until there is a batch and the cores to run it; no batch: the replica is closed and empty."""
        while True:
            self._cores.acquire(self.identity.threads)
            with self._lock:
                taken = self._take(number)
                ends = taken.batch is None and taken.again is None and self._closed
                if taken.batch is not None:
                    self._held[number] = taken.batch
                elif not ends:
                    self._idle.append(number)
            if taken.expired:
                self._tell(_fail, taken.expired, DeadlineExceededError, "the deadline passed in the queue")
            if taken.batch is not None:
                return taken
            self._cores.release(self.identity.threads)
            if ends:
                return taken
            self._sleep(number, taken.again)

    def _take(self, number: int) -> Taken:
        """The next batch. A request that cannot be composed fails alone: the thread goes on."""
        now = self._clock()
        try:
            return self._batcher.take(number, now)
        except Exception as error:
            LOGGER.exception("composing a batch of %s failed", self.name)
            self._tell(_fail, self._batcher.blame(now), EngineFailedError, not_composed(error))
            return Taken(again=now)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        """Has the event loop call; where it is closed, nobody waits any more."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _sleep(self, number: int, until: float | None) -> None:
        """Waits to be woken by a submit, which takes the instance out of `_idle`, or until the time is there."""
        wake = self._wakes[number]
        try:
            wake.get(timeout=None if until is None else max(0.0, until - self._clock()))
        except Empty:
            with self._lock:
                if number in self._idle:
                    self._idle.remove(number)
                else:
                    wake.get()

    def _finished(self, number: int, executed: Executed) -> None:
        """Settles a batch; where the order of arrival is kept, not before those that were taken earlier."""
        if not self._batcher.settings.preserve_ordering:
            self._settle(executed)
            return
        self._early[number] = executed
        while (earliest := self._early.pop(self._settled, None)) is not None:
            self._settled += 1
            self._settle(earliest)

    def _settle(self, executed: Executed) -> None:
        for ticket, result in executed.results:
            if isinstance(result, Answer):
                ticket.waiting.answer(ticket.part, result)
            else:
                ticket.waiting.fail(result)
        batch = executed.batch
        self._observe(
            BatchRecord(
                model=self.identity.model,
                version=self.identity.version,
                requests=len(batch.tickets),
                rows=sum(ticket.rows for ticket in batch.tickets),
                tokens=batch.tokens,
                slots=batch.layout.slots,
                compute_seconds=executed.seconds,
                failed=executed.failed,
            )
        )

    async def generate(self, request: GenerateRequest) -> Generation:
        """Not what these engines do."""
        raise cannot_generate(self.name)

    async def close(self, grace: float) -> None:
        """Refuses new work, answers what waits for at most `grace` seconds, fails the rest, frees the engines."""
        ends = self._clock() + grace
        with self._lock:
            self._closed = True
            self._idle.clear()
            for wake in self._wakes:
                wake.put(None)
        await asyncio.to_thread(self._join, ends)
        with self._lock:
            left = [*self._batcher.close(), *(ticket for batch in self._held.values() for ticket in batch.tickets)]
        _fail(left, ModelUnavailableError, f"model {self.name} was unloaded before the answer was there")
        for number in sorted(self._early):
            self._settle(self._early.pop(number))

    def _join(self, ends: float) -> None:
        for owner in self._owners:
            owner.join(max(0.0, ends - self._clock()))


def _too_late(waiting: Waiting, seconds: float) -> None:
    waiting.fail(DeadlineExceededError(f"the deadline of {1000 * seconds:.0f} ms passed before the answer was there"))


def _fail(tickets: Sequence[Ticket], kind: type[BatchyardError], message: str) -> None:
    for ticket in tickets:
        ticket.waiting.fail(kind(message))


def _laid_end_to_end(parts: Sequence[Outputs]) -> Outputs:
    first = parts[0]
    if len(parts) == 1:
        return first
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in first}
    except ValueError as error:
        raise InvalidRequestError(f"the answers make no one tensor, send each text alone: {error}") from None


def _timing(answers: Sequence[Answer]) -> Timing:
    last = answers[-1].timing
    if len(answers) == 1:
        return last
    queue = max(answer.timing.queue for answer in answers)
    compute = max(answer.timing.compute for answer in answers)
    return Timing(queue, compute, last.batch_size, last.batch_tokens, last.batch_slots)
