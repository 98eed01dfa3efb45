"""Which variants of a route may answer a request, and in which order they are asked. Nothing here waits."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from service.errors import DeadlineHopelessError, InvalidRequestError, ModelUnavailableError, NotFoundError
from service.generating import GenerateRequest
from service.routing.errand import Errand
from service.routing.facts import Facts, prompt_tokens
from service.routing.policies import BLIND, Draw, Option, by_chance, by_hash
from service.routing.route import Route
from service.routing.rules import first_match
from service.routing.served import Served
from service.types import InferRequest, Prediction

Newest = Callable[[str], Served | None]
"""The newest open version of a model; None where none is open."""
Reason = Callable[[str], str]
"""Why a model is not open."""


class Choice(NamedTuple):
    """Whom to ask, best first, at least one. `later`: those that nobody needed to look at yet, see `in_time`.

    `spare`: those that are asked only where another fails.
    """

    options: list[Option]
    later: list[Option]
    spare: list[Option]


def choose(
    errand: Errand, request: InferRequest | GenerateRequest, newest: Newest, reason: Reason, now: float
) -> Choice:
    """The variants to ask. Raises `BatchyardError` where none may or can answer in time."""
    route = errand.route
    options = [Option(route.variant(name), served) for name in route.variants if (served := newest(name))]
    if options:
        errand.cost = cost_of(request, options[0].served)
    names = _named(errand, request)
    if names is not route.variants:
        options = _of(errand, options, names)
    options = _good_enough(errand, options)
    errand.steps_down = not errand.hints.variant and not all(route.variant(name).step_down for name in names)
    options, spare = _turn(errand, _healthy(errand, options, names, reason, now))
    first = _first(errand, options, now)
    if first is not None:
        return Choice([first], [option for option in options if option is not first], spare)
    return Choice(in_time(errand, options, now), [], spare)


def fits(prediction: Prediction, left: float) -> bool:
    """Will the answer be there within `left` seconds, as far as anybody can tell?"""
    return prediction.p95 <= left


def is_hopeless(prediction: Prediction, left: float) -> bool:
    """Is there no use in asking? A replica without a queue has the last word itself: it may want to measure anew. So it
    has on requests that name a priority: where they would stand in the queue, only it knows."""
    return prediction.queue > 0 and prediction.p95 > left


def cost_of(request: InferRequest | GenerateRequest, served: Served) -> int:
    """About what a request costs, without work."""
    if isinstance(request, GenerateRequest):
        return prompt_tokens(request)
    return served.intake.estimate(request)


def _named(errand: Errand, request: InferRequest | GenerateRequest) -> Sequence[str]:
    """The variant that the request is pinned to, else those that the first matching rule leaves, else all."""
    route, pinned = errand.route, errand.hints.variant
    if pinned:
        if pinned not in route.variants:
            raise NotFoundError(
                f"route {route.name!r} has no variant {pinned!r}; it has {', '.join(route.variants)}: "
                "name one of them in x-variant, or leave it out"
            )
        return (pinned,)
    rule = first_match(route.rules, Facts(request, errand.cost, route.detect)) if route.rules else None
    if rule is None:
        return route.variants
    errand.rule = rule.name
    return tuple(name for name in route.variants if name in rule.variants)


def _of(errand: Errand, options: Sequence[Option], names: Sequence[str]) -> list[Option]:
    errand.saw_all(
        [option for option in options if option.variant.model not in names],
        f"left out by {'x-variant' if errand.hints.variant else errand.rule}",
    )
    return [option for option in options if option.variant.model in names]


def _good_enough(errand: Errand, options: list[Option]) -> list[Option]:
    floor = max(errand.hints.min_quality, errand.route.min_quality)
    if not floor or not options:
        return options
    good = [option for option in options if _quality(option) >= floor]
    if not good:
        raise _not_good_enough(errand.route, options, floor)
    if errand.hints.explain:
        errand.saw_all([option for option in options if option not in good], f"its quality is below {floor:g}")
    return good


def _quality(option: Option) -> float:
    declared = option.variant.quality
    return option.served.quality if declared is None else declared


def _not_good_enough(route: Route, options: Sequence[Option], floor: float) -> InvalidRequestError:
    found = ", ".join(f"{option.variant.model} {_quality(option):g}" for option in options)
    best = max(map(_quality, options))
    wanted = f"ask for at most {best:g}" if best >= route.min_quality else "lower the route's min_quality"
    text = f"no variant of route {route.name!r} that may answer has a quality of {floor:g}: {found}; {wanted}"
    return InvalidRequestError(text, "min_quality")


def _healthy(
    errand: Errand, options: Sequence[Option], names: Sequence[str], reason: Reason, now: float
) -> list[Option]:
    faults = [option.served.fault(now) for option in options]
    well = [option for option, fault in zip(options, faults, strict=True) if not fault]
    if well and not errand.hints.explain:
        return well
    reasons = {name: reason(name) for name in names}
    reasons |= {option.variant.model: fault for option, fault in zip(options, faults, strict=True)}
    for name, fault in reasons.items():
        if fault:
            errand.saw(name, fault)
    if well:
        return well
    text = "; ".join(f"{name}: {reasons[name]}" for name in names) or f"{errand.rule} leaves none"
    least = min((option.served.breaker.retry_after(now) for option in options), default=0.0)
    raise ModelUnavailableError(f"route {errand.route.name!r} has no variant that is ready: {text}", least)


def _turn(errand: Errand, options: list[Option]) -> tuple[list[Option], list[Option]]:
    """Whose turn it is, and who is only there for when that one fails.

    A policy that looks at no prediction has one variant answer at a time: the others, on the same cores, would not
    take its load but double it. Those to step down to may always be asked.
    """
    main = [option for option in options if not option.variant.step_down]
    if errand.route.policy not in BLIND or len(main) < 2:
        return options, []
    first, *spare = errand.route.policy(main, _draw(errand))
    if errand.hints.explain:
        for option in spare:
            _predict(errand, option)
    errand.saw_all(spare, "asked only where another fails")
    return [first, *(option for option in options if option.variant.step_down)], spare


def _first(errand: Errand, options: Sequence[Option], now: float) -> Option | None:
    """Whom a policy that needs no predictions asks first, if that one will be in time: a prediction costs microseconds,
    and those of the others are not needed then."""
    route = errand.route
    if route.policy not in BLIND or route.hedge or errand.hints.explain:
        return None
    best = [option for option in options if not option.variant.step_down] or options
    first = route.policy(best, _draw(errand))[0]
    _predict(errand, first)
    return first if fits(first.prediction, errand.deadline - now) else None


def _predict(errand: Errand, option: Option) -> None:
    option.prediction = option.served.replica.predict(errand.cost, errand.deadline, errand.hints.tenant)


def in_time(errand: Errand, options: Sequence[Option], now: float) -> list[Option]:
    """By policy, first those that will be in time, then those that have the last word themselves; steps down last.

    Raises `DeadlineHopelessError` where there is neither.
    """
    for option in options:
        _predict(errand, option)
    left = errand.deadline - now
    quick: list[Option] = []
    unsure: list[Option] = []
    late: list[Option] = []
    for option in options:
        hopeless = is_hopeless(option.prediction, left) and not errand.priority
        group = quick if fits(option.prediction, left) else late if hopeless else unsure
        group.append(option)
    if not quick and not unsure:
        errand.saw_all(late, "it would be too late")
        raise _hopeless(errand.route, options, left)
    if errand.hints.explain:
        errand.saw_all(late, "it would be too late")
        errand.saw_all([*quick, *unsure], "not needed")
    draw = _draw(errand)
    order: list[Option] = []
    for steps_down in (False, True):
        for group in (quick, unsure):
            tier = [option for option in group if option.variant.step_down == steps_down]
            order += errand.route.policy(tier, draw) if len(tier) > 1 else tier
    return order


def _hopeless(route: Route, options: Sequence[Option], left: float) -> DeadlineHopelessError:
    times = ", ".join(f"{option.variant.model} {1000 * option.prediction.p95:.0f} ms" for option in options)
    return DeadlineHopelessError(
        f"deadline in {max(0.0, 1000 * left):.0f} ms cannot be met by route {route.name!r}: predicted are {times}",
        min(option.prediction.p95 for option in options) - left,
    )


def _draw(errand: Errand) -> Draw:
    name = errand.route.sticky_header
    value = errand.hints.headers.get(name) if name else None
    return by_chance if value is None else by_hash(value)
