"""A generator of this process behind a queue: its thread steps, the event loop admits and turns tokens into text."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from engines.language import Language
from engines.text_generator import TextGenerator, TokenEvent
from service.cores import CoreBudget
from service.errors import (
    BatchyardError,
    DeadlineHopelessError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    QueueFullError,
)
from service.generating import GenerateRequest, cannot_infer
from service.generation.admission import Admission, due_of
from service.generation.answer import AnswerText
from service.generation.intake import GenerationIntake, GenerationJob
from service.generation.local import LocalGeneration
from service.generation.pace import Pace
from service.generation.ticket import Ticket
from service.generation.worker import Broken, Lost, Refused, Reopened, Report, Stepped, Worker
from service.owner import Owned
from service.responses import OneResponse
from service.types import ANYONE, InferResponse, Job, Prediction, Responses, Tenant

_MOST_CRASHES = 3
"""Breaks of the engine that an answer outlives, though it had tokens by then and so was hardly at fault."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A generator ready to step, the thread it lives on, how to open another in its place, and what feeds it.

    `threads`: CPU cores that a step takes, 0 where another device computes. `max_waiting`: answers that may queue.
    """

    owned: Owned[TextGenerator]
    reopen: Callable[[], TextGenerator]
    threads: int
    max_waiting: int
    intake: GenerationIntake
    language: Language


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a replica shares. `buffer`: events of one request that may wait for a slow reader.

    `step_done`: told of the answers in each step, and its seconds.
    """

    cores: CoreBudget
    clock: Callable[[], float]
    buffer: int
    step_done: Callable[[int, float], None]
    new_id: Callable[[], str]


class GeneratorReplica:
    """Implements `service.routing.replica.Replica` over a generator of this process. Used on the event loop."""

    def __init__(self, identity: tuple[str, str, str], opened: Opened, around: Surroundings) -> None:
        self.name = ":".join(identity[:2])
        self.fault = ""
        self._identity = identity
        self._intake = opened.intake
        self._language = opened.language
        self._around = around
        self._clock = around.clock
        self._pace = Pace()
        self._admission = Admission(opened.owned.engine.limits, opened.max_waiting)
        self._paused = False
        self._empty = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._worker = Worker(opened.owned, opened.reopen, around.cores, opened.threads, around.clock, self._tell)
        self._worker.start()

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        """See `Replica`; `cost`: tokens of the prompt."""
        wait = 0.0 if self._admission.is_free(1) else self._until_free(self._admission.ahead(tenant))
        first = wait + self._pace.until_first(cost)
        return Prediction(wait, first, first)

    @property
    def waiting(self) -> int:
        """Answers in the queue."""
        return self._admission.waiting

    @property
    def running(self) -> int:
        """Answers in the engine."""
        return len(self._admission.running)

    async def infer(self, job: Job) -> InferResponse:
        """Not what a generator does."""
        raise cannot_infer(self.name)

    async def stream(self, job: Job) -> Responses:
        """See `Replica`: one answer."""
        return OneResponse(await self.infer(job))

    async def generate(self, request: GenerateRequest) -> LocalGeneration:
        """Checks and queues a request; raises `BatchyardError`."""
        arrival = self._clock()
        job = await self._intake.check(request.call)
        tenant = request.hints.tenant
        predicted = self._check_room(job, request.deadline, tenant)
        generation = LocalGeneration(self._identity, job.prompt_tokens, arrival, self._around.buffer, self._drop)
        generation.timing.predicted = predicted
        due = due_of(arrival, request.priority)
        for index, (asked, plan) in enumerate(zip(job.requests, job.plans, strict=True)):
            text = AnswerText(index, self._language, plan, self._around.new_id)
            ticket = Ticket(generation, asked, text, due, tenant=tenant)
            generation.tickets.append(ticket)
            self._admission.wait(ticket)
        generation.expire_in(request.deadline - self._clock())
        self._admit()
        return generation

    def _check_room(self, job: GenerationJob, deadline: float, tenant: Tenant) -> Prediction:
        if self.fault:
            raise ModelUnavailableError(f"model {self._identity[0]!r} is unavailable: {self.fault}")
        count = len(job.requests)
        if not self._admission.could_hold(count):
            raise InvalidRequestError(
                f"{count} answers at once are more than this model's queue holds; ask for fewer", "n"
            )
        if not self._admission.has_room(count, tenant):
            later = max(self._until_free(count - 1), 0.001)
            raise QueueFullError(f"{self._admission.waiting} answers wait already; come back later", later)
        prompt = max(request.prompt.size for request in job.requests)
        wait = 0.0 if self._admission.is_free(count) else self._until_free(self._admission.ahead(tenant))
        first = wait + self._pace.until_first(prompt)
        left = deadline - self._clock()
        if first > left:
            text = f"the first token is expected in {first:.2f} s, the deadline is in {max(left, 0):.2f} s"
            raise DeadlineHopelessError(text, max(first - left, 0.001))
        return Prediction(wait, first, first)

    def _until_free(self, ahead: int) -> float:
        running = self._admission.running
        return self._pace.until_free([t.left for t in running], [len(t.generated) for t in running], ahead)

    def _admit(self) -> None:
        if not self._admission.all():
            self._empty.set()
        if self._paused:
            return
        for ticket in self._admission.take():
            ticket.taken = self._clock()
            ticket.receiver.started(ticket.taken)
            self._worker.add(ticket)

    def _drop(self, ticket: Ticket) -> None:
        """Takes out a ticket that nobody waits for any more."""
        ticket.over = True
        if self._admission.release(ticket):
            self._worker.cancel(ticket)
        self._admit()

    def _tell(self, report: Report) -> None:
        self._loop.call_soon_threadsafe(self._hear, report)

    def _hear(self, report: Report) -> None:
        match report:
            case Stepped():
                self._stepped(report)
            case Refused(ticket, error):
                self._fail(ticket, InvalidRequestError(str(error)))
            case Broken(tickets, error):
                self._paused = True
                for ticket in tickets:
                    self._recover(ticket, error)
            case Reopened():
                self._paused = False
            case Lost(error):
                self.fault = f"its engine broke and could not be opened anew: {error}"
                for ticket in self._admission.all():
                    self._fail(ticket, ModelUnavailableError(self.fault))
        self._admit()

    def _stepped(self, report: Stepped) -> None:
        now = self._clock()
        self._around.step_done(len(report.events), report.seconds)
        if not report.fresh:
            self._pace.step_done(report.seconds)
        self._charge(report.seconds)
        for ticket, event in report.events:
            if not ticket.over:
                self._pass_on(ticket, event, now)

    def _charge(self, seconds: float) -> None:
        """All that is in the engine shares a step, by the tokens that it computes for each."""
        running = self._admission.running
        rate = seconds / (sum([ticket.work for ticket in running]) or 1)
        for ticket in running:
            ticket.receiver.charge(rate * ticket.work)

    def _pass_on(self, ticket: Ticket, event: TokenEvent, now: float) -> None:
        if event.tokens and not ticket.generated:
            self._pace.first_token(now - ticket.taken, ticket.request.prompt.size)
        events = ticket.push(event.tokens)
        finish = "stop" if ticket.text.stopped else event.finish
        if finish:
            events += ticket.text.finish(finish)
        ticket.receiver.put(events, len(event.tokens), event.cached_tokens, now)
        if finish and not ticket.over:
            self._finish(ticket)
        if not event.finish and ticket.over:
            self._worker.cancel(ticket)

    def _finish(self, ticket: Ticket) -> None:
        ticket.over = True
        self._admission.release(ticket)
        self._pace.answer_done(len(ticket.generated))
        ticket.receiver.finished()

    def _recover(self, ticket: Ticket, error: Exception) -> None:
        """Queues a ticket of a broken engine again, before all others; fails the one that is likely at fault.

        What was new to the engine is suspect, and is tried again alone among its like. What had tokens goes on from
        there; the random numbers of a seed begin anew, and a grammar cannot go on in the middle.
        """
        if ticket.over:
            return
        self._admission.release(ticket)
        ticket.crashes += 1
        in_grammar = ticket.request.grammar is not None and ticket.generated
        if ticket.suspect or in_grammar or ticket.crashes > _MOST_CRASHES:
            self._fail(ticket, EngineFailedError(f"the engine failed on this request: {error}"))
            return
        ticket.suspect = not ticket.generated
        self._admission.wait(ticket)

    def _fail(self, ticket: Ticket, error: BatchyardError) -> None:
        if not ticket.over:
            ticket.receiver.fail(error)

    async def close(self, grace: float) -> None:
        """Answers what it holds for at most `grace` seconds, then frees all."""
        self._empty.clear()
        self._admit()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), grace)
        self.fault = "the server is stopping"
        for ticket in self._admission.all():
            self._fail(ticket, ModelUnavailableError(f"{self.fault} and had no time left to answer; ask again"))
        self._worker.stop()
        await asyncio.to_thread(self._worker.join, max(grace, 1.0))
