"""The way of a request to what answers it: a model by its own name, or one variant of a route after the other."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from service.catalog import Catalog
from service.errors import (
    BatchyardError,
    DeadlineHopelessError,
    InvalidRequestError,
    ModelUnavailableError,
    NotFoundError,
)
from service.generating import GenerateRequest, Generation
from service.routing.asking import ENDLESS, PATIENT, infer_by, stream_by, watched
from service.routing.choosing import choose, cost_of, is_hopeless
from service.routing.errand import Asked, Errand
from service.routing.route import Route
from service.routing.served import Served
from service.routing.way import Ask, RouteState, Way
from service.telemetry.routes import RouteCounters
from service.types import DIRECT, Candidate, InferRequest, InferResponse, Prediction, Responses, Routed

Answer = TypeVar("Answer")
Request = InferRequest | GenerateRequest


class Router:
    """Used on the event loop only. `asked` is told whom a request came to."""

    def __init__(self, catalog: Catalog, counters: RouteCounters, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._counters = counters
        self._clock = clock
        self._states: dict[str, RouteState] = {}

    async def infer(self, request: InferRequest, asked: Asked) -> InferResponse:
        """Raises `BatchyardError`."""
        route = self._catalog.routes.get(request.model)
        if route is not None:
            return await self._infer_by_route(route, request, asked)
        served, response = await self._by_name(request, asked, lambda served: infer_by(served, request), PATIENT)
        if request.hints.explain and response.routed is DIRECT:
            response.routed = _direct_to(served, response.timing.predicted)
        return response

    async def generate(self, request: GenerateRequest, asked: Asked) -> tuple[Generation, Routed]:
        """Raises `BatchyardError`. What has begun is never asked for again."""
        route = self._catalog.routes.get(request.model)
        if route is not None:
            return await self._generate_by_route(route, request, asked)
        served, generation = await self._by_name(
            request, asked, lambda served: served.replica.generate(request), ENDLESS
        )
        if request.hints.explain and generation.routed is DIRECT:
            return generation, _direct_to(served, generation.timing.predicted)
        return generation, generation.routed

    async def _by_name(
        self, request: Request, asked: Asked, ask: Callable[[Served], Awaitable[Answer]], patience: float
    ) -> tuple[Served, Answer]:
        """Asks a model by its own name, and its successor where it was loaded anew meanwhile."""
        served = self._direct(request, asked)
        try:
            return served, await watched(served, ask(served), self._clock, patience)
        except ModelUnavailableError:
            if not self._replaced(served, request):
                raise
        served = self._direct(request, asked)
        return served, await watched(served, ask(served), self._clock, patience)

    def _direct(self, request: Request, asked: Asked) -> Served:
        served = self._catalog.served(request.model, request.version)
        if served.breaker.until or served.replica.fault:
            self._catalog.check(request.model, served)
        asked.served = served
        if request.hints.variant or request.hints.min_quality:
            _check_hints(request, served)
        if served.pressed_until and not request.priority:
            self._check_pressed(served, request)
        return served

    def _check_pressed(self, served: Served, request: Request) -> None:
        """Refuses what a busy model could not answer in time, before it is tokenised."""
        now = self._clock()
        if now >= served.pressed_until:
            served.pressed_until = 0.0
            return
        left = request.deadline - now
        prediction = served.replica.predict(cost_of(request, served), request.deadline, request.hints.tenant)
        if is_hopeless(prediction, left):
            found = f"the answer is predicted in {1000 * prediction.p95:.0f} ms"
            text = f"deadline in {max(0.0, 1000 * left):.0f} ms cannot be met: {found}"
            raise DeadlineHopelessError(text, prediction.p95 - left)

    def _replaced(self, served: Served, request: Request) -> bool:
        """Was the version that could not answer loaded anew meanwhile?"""
        return self._catalog.served(request.model, request.version) is not served

    async def _infer_by_route(self, route: Route, request: InferRequest, asked: Asked) -> InferResponse:
        start = self._clock()
        errand = self._errand(route, asked, request)
        response, routed = await self._by_route(errand, request, lambda way: partial(way.infer, request))
        if route.hedge:
            self._state(route).times.record(self._clock() - start)
        response.routed = _with_steps(routed, response.routed)
        return response

    async def stream(self, request: InferRequest, asked: Asked) -> tuple[Responses, Routed]:
        """Raises `BatchyardError`. What has begun is never asked for again."""
        route = self._catalog.routes.get(request.model)
        if route is not None:
            return await self._by_route(
                self._errand(route, asked, request), request, lambda way: partial(way.stream, request)
            )
        _, responses = await self._by_name(request, asked, lambda served: stream_by(served, request), PATIENT)
        return responses, DIRECT

    async def _generate_by_route(
        self, route: Route, request: GenerateRequest, asked: Asked
    ) -> tuple[Generation, Routed]:
        errand = Errand(route, asked, request.hints, request.deadline, priority=request.priority)
        generation, routed = await self._by_route(errand, request, lambda way: partial(way.generate, request))
        return generation, _with_steps(routed, generation.routed)

    async def _by_route(
        self, errand: Errand, request: Request, ask_of: Callable[[Way], Ask[Answer]]
    ) -> tuple[Answer, Routed]:
        route, now = errand.route, self._clock()
        state = self._state(route)
        state.budget.deposit(now)
        try:
            if request.version:
                self._catalog.check_route_version(route, request.version)
            choice = choose(errand, request, self._catalog.newest, self._catalog.reason, now)
            way = Way(errand, choice, state, self._catalog.newest, self._counters, self._clock)
            option, answer = await way.to_answer(ask_of(way))
        except BatchyardError as error:
            if request.hints.explain:
                error.routed = errand.told()
            raise
        errand.asked.served = option.served
        routed = errand.answered_by(option)
        self._counters.answered(route.name, option.variant.model, bool(routed.step_down))
        return answer, routed

    def _errand(self, route: Route, asked: Asked, request: InferRequest) -> Errand:
        """A step of a sequence is sent once only: the model may have taken it before it failed."""
        step = request.sequence
        hints = self._state(route).held.hints(request, self._catalog.newest) if step else request.hints
        once = step is not None
        return Errand(route, asked, hints, request.deadline, priority=request.priority, sent_once=once, sequence=step)

    def _state(self, route: Route) -> RouteState:
        state = self._states.get(route.name)
        if state is None:
            state = self._states[route.name] = RouteState(route)
        return state


def _with_steps(routed: Routed, steps: Routed) -> Routed:
    """Of an answer by a route: a cheaper variant may have stepped in for a step of the one that answered."""
    return replace(routed, step_down=steps.step_down) if steps.step_down and not routed.step_down else routed


def _direct_to(served: Served, prediction: Prediction) -> Routed:
    return Routed(candidates=(Candidate(served.replica.name, prediction, "chosen"),))


def _check_hints(request: Request, served: Served) -> None:
    hints, name = request.hints, request.model
    if hints.variant not in ("", name):
        raise NotFoundError(f"{name!r} is a model, not a route with a variant {hints.variant!r}; leave x-variant out")
    if hints.min_quality > served.quality:
        text = f"model {name!r} has a quality of {served.quality:g}; ask for at most that, found {hints.min_quality:g}"
        raise InvalidRequestError(text, "min_quality")
