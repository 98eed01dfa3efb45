"""One request through a route: the variants one after the other, at most one second try, at most one hedge."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.errors import (
    BatchyardError,
    DeadlineHopelessError,
    EngineFailedError,
    ModelUnavailableError,
    RetryLaterError,
)
from service.generating import GenerateRequest, Generation
from service.routing.asking import ENDLESS, infer_by, stream_by, watched
from service.routing.budget import RetryBudget
from service.routing.choosing import Choice, Newest, fits, in_time
from service.routing.errand import Errand
from service.routing.hedge import AnswerTimes, Work, hedged
from service.routing.policies import Option
from service.routing.route import Route
from service.routing.sequences import Held
from service.routing.served import Served
from service.telemetry.routes import RouteCounters
from service.types import InferRequest, InferResponse, Responses

Answer = TypeVar("Answer")
Ask = Callable[[Option, list[Option]], Awaitable[tuple[Option, Answer]]]
"""Asks a variant; the others are those that could be asked as well. Returns which of them answered what."""


class RouteState:
    """What is remembered of a route from request to request."""

    __slots__ = ("budget", "held", "times")

    def __init__(self, route: Route) -> None:
        self.budget = RetryBudget(route.retry_budget)
        self.times = AnswerTimes()
        self.held = Held()


class Way:
    """Takes one errand to its end."""

    def __init__(
        self,
        errand: Errand,
        choice: Choice,
        state: RouteState,
        newest: Newest,
        counters: RouteCounters,
        clock: Callable[[], float],
    ) -> None:
        self._errand = errand
        self._options, self._later, self._spare = choice
        self._state = state
        self._newest = newest
        self._counters = counters
        self._clock = clock
        self._failure: BatchyardError | None = None
        self._failed_at: Served | None = None

    async def to_answer(self, ask: Ask[Answer]) -> tuple[Option, Answer]:
        """Asks until one answers. A refusal costs nothing; a failure costs the one second try. Raises the failure, else
        the refusal with the least time to come back."""
        refusals: list[RetryLaterError] = []
        while (option := self._next(refusals)) is not None:
            self._errand.asked.served = option.served
            self._state.held.asks(self._errand.sequence, option)
            try:
                answered = await ask(option, self._options)
            except RetryLaterError as error:
                self._errand.tried(option, error)
                refusals.append(error)
            except (ModelUnavailableError, EngineFailedError) as error:
                self._go_on(option, error)
            else:
                self._count_retry("answered")
                self._state.held.answered(self._errand.sequence)
                return answered
        if self._failure is not None:
            self._count_retry("refused")
            self._errand.asked.served = self._failed_at
            raise self._failure
        raise min(refusals, key=lambda error: error.retry_after)

    def _next(self, refusals: list[RetryLaterError]) -> Option | None:
        """Whom to ask now. Where the first was enough to begin with, the others are looked at once it is not."""
        if not self._options and self._later:
            now = self._clock()
            later, self._later = [option for option in self._later if not option.served.fault(now)], []
            try:
                self._options = in_time(self._errand, later, now) if later else []
            except DeadlineHopelessError as error:
                refusals.append(error)
        return self._options.pop(0) if self._options else None

    def _count_retry(self, outcome: str) -> None:
        if self._failure is not None:
            self._counters.retried(self._errand.route.name, outcome)

    def _go_on(self, option: Option, error: ModelUnavailableError | EngineFailedError) -> None:
        """Leaves in the options whom to try after a failure; raises it where there is nobody, or trying is not wise."""
        if isinstance(error, ModelUnavailableError) and self._replaced(option):
            return
        errand = self._errand
        if self._failure is not None:
            self._count_retry("failed")
            raise error
        if errand.sent_once or errand.hedged or (isinstance(error, EngineFailedError) and not error.retryable):
            raise error
        now = self._clock()
        others = sorted([*self._options, *self._spare, *self._later], key=lambda option: option.variant.step_down)
        self._options = [option for option in others if self._can_take(option, now)]
        self._later, self._spare = [], []
        if not self._options:
            raise error
        if not self._state.budget.withdraw(now):
            self._counters.retried(errand.route.name, "no_budget")
            raise error
        self._failure, self._failed_at = error, option.served
        errand.tried(option, error)

    def _replaced(self, option: Option) -> bool:
        """Was the version loaded anew meanwhile? Then its successor is asked: nothing failed."""
        now = self._newest(option.variant.model)
        if now is None or now is option.served:
            return False
        self._options.insert(0, Option(option.variant, now, option.prediction))
        return True

    def _can_take(self, option: Option, now: float) -> bool:
        """Is it well, and would it answer in the time that is left?"""
        prediction = option.served.replica.predict(self._errand.cost, self._errand.deadline, self._errand.hints.tenant)
        return not option.served.fault(now) and fits(prediction, self._errand.deadline - now)

    async def infer(self, request: InferRequest, option: Option, others: list[Option]) -> tuple[Option, InferResponse]:
        """Asks a variant, and a second one where the route hedges and the first is slow."""
        slow = self._state.times.slow
        if not self._errand.route.hedge or self._errand.sent_once or slow == float("inf"):
            return option, await self._infer_by(option, request)
        partner: list[Option] = []

        def second() -> Work[InferResponse] | None:
            partner.extend(self._partner(option, others) or self._partner(option, self._spare))
            return self._infer_by(partner[0], request) if partner else None

        response, won = await hedged(self._infer_by(option, request), slow, second)
        if partner:
            self._counters.hedged(self._errand.route.name, won)
        return partner[0] if won else option, response

    async def generate(
        self, request: GenerateRequest, option: Option, others: list[Option]
    ) -> tuple[Option, Generation]:
        """Asks a variant to generate; what it returns has begun."""
        return option, await watched(option.served, option.served.replica.generate(request), self._clock, ENDLESS)

    async def stream(self, request: InferRequest, option: Option, others: list[Option]) -> tuple[Option, Responses]:
        """Asks a variant for answers as they come; what it returns has begun."""
        return option, await watched(option.served, stream_by(option.served, request), self._clock)

    async def _infer_by(self, option: Option, request: InferRequest) -> InferResponse:
        return await watched(option.served, infer_by(option.served, request), self._clock)

    def _partner(self, option: Option, others: list[Option]) -> list[Option]:
        """Whom to ask as well: one of the same kind that has time for it, if the budget allows; [] for nobody."""
        now = self._clock()
        for other in others:
            if other.variant.step_down == option.variant.step_down and self._can_take(other, now):
                if not self._state.budget.withdraw(now):
                    return []
                others.remove(other)
                self._errand.hedged = True
                return [other]
        return []
