"""A model's engine instances on this machine behind one queue: threads pull batches, the event loop settles callers."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from engines.base import Engine
from service.batching.batcher import Batcher
from service.batching.calibration import Calibration
from service.batching.faults import Faults
from service.batching.handover import Handover
from service.batching.levels import When
from service.batching.outputs import OutputCheck
from service.batching.quarantine import Quarantine
from service.batching.record import BatchRecord
from service.batching.reopening import Reopening
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
from service.responses import OneResponse
from service.types import InferResponse, Job, Outputs, Prediction, Responses, Timing

LOGGER = logging.getLogger("batchyard.batching")

_FAR = 1e6
"""Seconds: what a timer takes for a deadline that never comes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose replica this is. `threads`: CPU cores one batch uses, 0 where another device computes.

    `finite`: NaN and infinities in an answer are an error.
    """

    model: str
    version: str
    engine: str
    threads: int
    finite: bool = False


class LocalReplica:
    """Implements `service.routing.replica.Replica` over engines of this machine.

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
        self.calibration: Calibration = batcher.calibration
        self._batcher = batcher
        self._clock = clock
        self._observe = observe
        self._faults = Faults()
        self._quarantine = Quarantine()
        self._answered = 0
        self._settled = 0
        self._early: dict[int, Executed] = {}
        self._loop = asyncio.get_running_loop()
        self._handover = Handover(self.name, batcher, cores, identity.threads, clock, len(engines), self._tell_failed)
        self._reopening = Reopening(self.name, cores, identity.threads, self._handover.unwanted)
        self._owners = [owned.owner for owned in engines]
        for number, owned in enumerate(engines):
            owned.owner.start(partial(self._serve, number, owned))

    @property
    def pending(self) -> int:
        """Parts that wait."""
        return len(self._batcher)

    @property
    def fault(self) -> str:
        """Why it cannot answer; "" if it can."""
        return self._handover.fault

    @property
    def faults(self) -> Faults:
        """What went wrong until now."""
        self._faults.quarantined = self._quarantine.count(self._clock())
        return self._faults

    def predict(self, cost: int, deadline: float = float("inf")) -> Prediction:
        """See `Replica`. With a deadline: only what is due before it counts as ahead."""
        return self._handover.predict(cost, deadline, self._clock())

    async def infer(self, job: Job) -> InferResponse:
        """Answers a job; raises `BatchyardError`. Cancelling the awaiting task drops its tickets."""
        request = job.request
        now = self._clock()
        self._quarantine.check(job.parts, now)
        future: asyncio.Future[list[Answer]] = self._loop.create_future()
        waiting = Waiting(future, [None] * len(job.parts), len(job.parts), now)
        self._submit(waiting, job, now)
        left = request.deadline - now
        timer = self._loop.call_later(min(left, _FAR), self._too_late, waiting, left)
        try:
            return self._response(await future, waiting, job)
        except asyncio.CancelledError:
            self.calibration.given_up(waiting, self._clock())
            raise
        finally:
            timer.cancel()

    def _submit(self, waiting: Waiting, job: Job, now: float) -> None:
        when = When(now, job.request.deadline, job.request.priority)
        make = self._batcher.ticket
        tickets = [
            make(waiting, part, tensors, job.rows, job.costs[part], when) for part, tensors in enumerate(job.parts)
        ]
        for part in job.bulk:
            tickets[part].bulk = True
        try:
            self._handover.submit(tickets, now)
        except BatchyardError:
            raise
        except Exception as error:
            LOGGER.exception("predicting a batch of %s failed", self.name)
            raise EngineFailedError(not_composed(error), retryable=False) from error

    def _response(self, answers: Sequence[Answer], waiting: Waiting, job: Job) -> InferResponse:
        identity = self.identity
        parts = [answer.outputs for answer in answers]
        outputs = job.join(parts) if job.join else _laid_end_to_end(parts)
        tokens = sum(job.costs) if job.tokens is None else job.tokens
        timing = _timing(answers)
        timing.predicted, timing.actual = waiting.predicted, waiting.actual
        return InferResponse(identity.model, identity.version, outputs, identity.engine, timing, tokens)

    def _serve(self, number: int, owned: Owned[Engine]) -> None:
        """The life of an instance: it runs batches, and where its engine is lost opens another."""
        engine: Engine | None = owned.engine
        while engine is not None:
            lost = self._work(number, engine)
            engine.close()
            if not lost or self._handover.unwanted(0.0):
                return
            engine = self._reopening.engine(owned.reopen, self._handover.not_reopened)
            if engine is not None:
                self._handover.reopened(number)
                self._tell(self._restarted)

    def _work(self, number: int, engine: Engine) -> bool:
        """Runs batches until the model is closed, or until the engine is lost: True."""
        check = OutputCheck(engine.signature, self.identity.finite)
        worker = Worker(engine, check, self._batcher.composer, self._clock)
        while (taken := self._handover.next(number)).batch is not None:
            executed = worker.execute(taken.batch)
            self._handover.finished(number, executed)
            self._tell(self._finished, taken.number, executed)
            if executed.lost:
                LOGGER.error("model %s lost an engine: %s", self.name, executed.lost)
                return True
        return False

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        """Has the event loop call; where it is closed, nobody waits any more."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _tell_failed(self, tickets: Sequence[Ticket], error: Callable[[], BatchyardError]) -> None:
        self._tell(self._fail, tickets, error)

    def _fail(self, tickets: Sequence[Ticket], error: Callable[[], BatchyardError]) -> None:
        for ticket in tickets:
            if not ticket.gone:
                said = error()
                if isinstance(said, DeadlineExceededError) and ticket.expires == ticket.deadline:
                    self.calibration.given_up(ticket.waiting, ticket.deadline)  # it would not have been there before
                ticket.waiting.fail(said)

    def _restarted(self) -> None:
        self._faults.restarts += 1

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
        now = self._clock()
        if executed.failed:
            self._learn_faults(executed, now)
        ended = [ticket.waiting for ticket, result in executed.results if _settled(ticket, result, now)]
        self._answered += len(ended)
        if not executed.failed:
            self.calibration.answered(ended, now)
        self._observe(self._record(executed))

    def _learn_faults(self, executed: Executed, now: float) -> None:
        """Counts what went wrong, and puts the rows at fault into quarantine."""
        faults = self._faults
        faults.splits += executed.splits
        faults.memory_errors += executed.memory_errors
        for index, (ticket, result) in enumerate(executed.results):
            guilty = ticket in executed.guilty
            if ticket in executed.unclear and self._quarantine.unclear(ticket.tensors, self._answered):
                executed.results[index] = ticket, EngineFailedError(str(result), retryable=False)
                guilty = True
            if guilty:
                faults.poison += 1
                self._quarantine.refuse(ticket.tensors, str(result), now)

    def _record(self, executed: Executed) -> BatchRecord:
        batch = executed.batch
        return BatchRecord(
            model=self.identity.model,
            version=self.identity.version,
            requests=len(batch.tickets),
            rows=sum(ticket.rows for ticket in batch.tickets),
            tokens=batch.tokens,
            slots=batch.layout.slots,
            compute_seconds=executed.seconds,
            failed=executed.failed,
        )

    async def stream(self, job: Job) -> Responses:
        """See `Replica`: one answer."""
        return OneResponse(await self.infer(job))

    async def generate(self, request: GenerateRequest) -> Generation:
        """Not what these engines do."""
        raise cannot_generate(self.name)

    async def close(self, grace: float) -> None:
        """Refuses new work, answers what waits for at most `grace` seconds, fails the rest, frees the engines."""
        ends = self._clock() + grace
        self._handover.close()
        await asyncio.to_thread(self._join, ends)
        message = f"model {self.name} was unloaded before the answer was there"
        self._fail(self._handover.end(), partial(ModelUnavailableError, message))
        for number in sorted(self._early):
            self._settle(self._early.pop(number))

    def _join(self, ends: float) -> None:
        for owner in self._owners:
            owner.join(max(0.0, ends - self._clock()))

    def _too_late(self, waiting: Waiting, seconds: float) -> None:
        if not waiting.future.done():
            self.calibration.given_up(waiting, self._clock())
            waiting.fail(
                DeadlineExceededError(f"the deadline of {1000 * seconds:.0f} ms passed before the answer was there")
            )


def _settled(ticket: Ticket, result: Answer | BatchyardError, now: float) -> bool:
    """Gives a caller the result; was it the last of its answers?"""
    if isinstance(result, Answer):
        return ticket.waiting.answer(ticket.part, result, now)
    ticket.waiting.fail(result)
    return False


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
