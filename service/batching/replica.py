"""A model's engine instances on this machine behind one queue: threads pull batches, the event loop settles callers."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from engines.base import AnyEngine
from engines.calls import CallEngine
from engines.errors import EngineLostError
from service.batching.answers import joined, timing_of
from service.batching.batcher import Batcher
from service.batching.calibration import Calibration
from service.batching.call_worker import CallWorker
from service.batching.faults import Faults
from service.batching.handover import RETRY_AFTER, Handover
from service.batching.levels import When
from service.batching.open_calls import OpenCalls, Outlet
from service.batching.outputs import OutputCheck
from service.batching.record import BatchRecord
from service.batching.reopening import Reopening
from service.batching.responses import LocalResponses
from service.batching.settling import Settling
from service.batching.ticket import Answer, Ticket, Waiting
from service.batching.worker import Clock, Worker, not_composed
from service.cores import CoreBudget
from service.errors import (
    BatchyardError,
    DeadlineExceededError,
    EngineFailedError,
    ModelUnavailableError,
    QueueFullError,
    UnsupportedError,
)
from service.generating import GenerateRequest, Generation, cannot_generate
from service.owner import Owned
from service.responses import OneResponse, has_many_answers
from service.timers import deadline_timer
from service.types import ANYONE, InferResponse, Job, Prediction, Responses, Tenant

LOGGER = logging.getLogger("batchyard.batching")

_CLOSING = 1.0
"""Seconds that engines have to end when the calls that they had open were given up."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose replica this is. `threads`: CPU cores one batch uses, 0 where another device computes.

    `finite`: NaN and infinities in an answer are an error. `decoupled`: requests have any number of answers.
    """

    model: str
    version: str
    engine: str
    threads: int
    finite: bool = False
    decoupled: bool = False


class LocalReplica:
    """Implements `service.routing.replica.Replica` over engines of this machine.

    Each engine is owned by one thread, which composes its next batch itself at the moment it is free, so that
    backlog fills batches. `observe` is told of every batch on the event loop. `stream_buffer`: answers of one request
    that wait for its reader.
    """

    def __init__(
        self,
        identity: Identity,
        engines: Sequence[Owned[AnyEngine]],
        batcher: Batcher,
        cores: CoreBudget,
        clock: Clock,
        observe: Callable[[BatchRecord], None],
        stream_buffer: int = 1024,
    ) -> None:
        self.identity = identity
        self.name = f"{identity.model}:{identity.version}"
        self.calibration: Calibration = batcher.calibration
        self._batcher = batcher
        self._clock = clock
        self._stream_buffer = stream_buffer
        self._settling = Settling(
            (identity.model, identity.version),
            batcher.calibration,
            clock,
            observe,
            in_order=batcher.settings.preserve_ordering,
        )
        self._loop = asyncio.get_running_loop()
        self._handover = Handover(self.name, batcher, cores, identity.threads, clock, len(engines), self._tell_failed)
        self._calls = OpenCalls(
            Outlet(
                partial(self._tell, self._settling.responded),
                lambda ticket: self._handover.again([ticket]),
                partial(self._tell, self._settling.condemn),
            )
        )
        self._reopening = Reopening(self.name, cores, identity.threads, self._handover.unwanted)
        self._owners = [owned.owner for owned in engines]
        self.engines: list[AnyEngine] = [owned.engine for owned in engines]
        """Those of the instances, as they were opened last."""
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
        faults = self._settling.faults
        faults.quarantined = self._settling.quarantine.count(self._clock())
        return faults

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        """See `Replica`. With a deadline: only what is due before it counts as ahead."""
        return self._handover.predict(cost, deadline, self._clock(), tenant)

    async def infer(self, job: Job) -> InferResponse:
        """Answers a job; raises `BatchyardError`. Cancelling the awaiting task drops its tickets."""
        if self.identity.decoupled:
            raise has_many_answers(self.identity.model)
        request = job.request
        now = self._clock()
        self._check(job, now)
        future: asyncio.Future[list[Answer]] = self._loop.create_future()
        parts, tenant = len(job.parts), request.hints.tenant
        waiting = Waiting(future, [None] * parts, parts, now, request=request, slot=job.slot, tenant=tenant)
        self._submit(waiting, job, now)
        left = request.deadline - now
        timer = deadline_timer(self._loop, left, self._too_late, waiting, left)
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
        outputs = joined(answers, job.join)
        tokens = sum(job.costs) if job.tokens is None else job.tokens
        timing = timing_of(answers)
        timing.predicted, timing.actual = waiting.predicted, waiting.actual
        response = InferResponse(identity.model, identity.version, outputs, identity.engine, timing, tokens)
        response.parameters, response.final = answers[-1].parameters, answers[-1].final
        return response

    def _serve(self, number: int, owned: Owned[AnyEngine]) -> None:
        """The life of an instance: it runs batches, and where its engine is lost opens another."""
        engine: AnyEngine | None = owned.engine
        while engine is not None:
            lost = self._work(number, engine)
            if lost is None:
                self._calls.wait(engine)
            else:
                self._calls.lost(engine, lost)
            engine.close()
            if lost is None or self._handover.unwanted(0.0):
                return
            engine = self._reopening.engine(owned.reopen, self._handover.not_reopened)
            if engine is not None:
                self.engines[number] = engine
                self._handover.reopened(number)
                self._tell(self._settling.restarted)

    def _work(self, number: int, engine: AnyEngine) -> EngineLostError | None:
        """Runs batches until the model is closed, or until the engine is lost."""
        worker = self._worker(engine)
        while (taken := self._handover.next(number)).batch is not None:
            executed = worker.execute(taken.batch)
            self._handover.finished(number, executed)
            self._tell(self._settling.finished, taken.number, executed)
            lost = executed.lost
            del taken, executed  # whose tensors would be held until there is another batch
            if lost:
                LOGGER.error("model %s lost an engine: %s", self.name, lost)
                return lost
        return None

    def _worker(self, engine: AnyEngine) -> Worker | CallWorker:
        check = OutputCheck(engine.signature, self.identity.finite)
        if isinstance(engine, CallEngine):
            return CallWorker(engine, check, self._calls, self._clock)
        return Worker(engine, check, self._batcher.composer, self._clock)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        """Has the event loop call; where it is closed, nobody waits any more."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _tell_failed(self, tickets: Sequence[Ticket], error: Callable[[], BatchyardError]) -> None:
        self._tell(self._settling.fail, tickets, error)

    async def stream(self, job: Job) -> Responses:
        """See `Replica`: one answer, where the model is not decoupled; else the first is there, or the last was."""
        if not self.identity.decoupled:
            return OneResponse(await self.infer(job))
        if len(job.parts) > 1:
            raise UnsupportedError(f"model {self.identity.model!r} gives any number of answers; send one text")
        now = self._clock()
        self._check(job, now)
        responses = LocalResponses(self._stream_buffer, lambda answer: self._response([answer], waiting, job))
        tenant = job.request.hints.tenant
        waiting = Waiting(
            responses, [None], 1, now, request=job.request, each=responses.put, slot=job.slot, tenant=tenant
        )
        try:
            self._submit(waiting, job, now)
            waiting.outlook = None  # which is of the first answer at best
            responses.expire_in(job.request.deadline - now)
            await responses.begin()
        except BaseException:
            responses.close()
            raise
        return responses

    def _check(self, job: Job, now: float) -> None:
        """Refuses what is known to break engines, and more than may be open at once."""
        self._settling.quarantine.check(job.parts, now)
        if len(self._calls) >= self._batcher.max_queue:
            text = f"{len(self._calls)} requests are being answered by model {self.name}, as many as may"
            raise QueueFullError(text, RETRY_AFTER)

    async def generate(self, request: GenerateRequest) -> Generation:
        """Not what these engines do."""
        raise cannot_generate(self.name)

    async def close(self, grace: float) -> None:
        """Refuses new work, answers what waits for at most `grace` seconds, fails the rest, frees the engines."""
        ends = self._clock() + grace
        self._handover.close()
        await asyncio.to_thread(self._join, ends)
        message = f"model {self.name} was unloaded before the answer was there"
        given_up = self._calls.give_up()
        self._settling.fail([*self._handover.end(), *given_up], partial(ModelUnavailableError, message))
        self._settling.close()
        if given_up:
            await asyncio.to_thread(self._join, self._clock() + _CLOSING)

    def _join(self, ends: float) -> None:
        for owner in self._owners:
            owner.join(max(0.0, ends - self._clock()))

    def _too_late(self, waiting: Waiting, seconds: float) -> None:
        if not waiting.future.done():
            self.calibration.given_up(waiting, self._clock())
            waiting.fail(
                DeadlineExceededError(f"the deadline of {1000 * seconds:.0f} ms passed before the answer was there")
            )
