"""One request on its way through a route, and what is told of the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service.routing.policies import Option
from service.routing.route import Route
from service.routing.served import Served
from service.types import NO_PREDICTION, Candidate, Hints, Prediction, Routed, SequenceStep


class Asked:
    """The version of a model that was asked last; None: the request came to none."""

    __slots__ = ("served",)

    def __init__(self) -> None:
        self.served: Served | None = None


@dataclass(slots=True)
class Errand:
    """`cost`: of the request, estimated. `sent_once`: it may not be sent a second time. `steps_down`: the route has
    variants that are asked before those of less quality. `sequence`: that it is a step of."""

    route: Route
    asked: Asked
    hints: Hints
    deadline: float
    cost: int = 1
    priority: int = 0
    sent_once: bool = False
    sequence: SequenceStep | None = None
    rule: str = ""
    steps_down: bool = False
    hedged: bool = False
    tries: list[str] = field(default_factory=list)
    seen: dict[str, Candidate] = field(default_factory=dict)

    def saw(self, name: str, verdict: str, prediction: Prediction = NO_PREDICTION) -> None:
        """Remembers a candidate, if somebody wants to know."""
        if self.hints.explain:
            self.seen[name] = Candidate(name, prediction, verdict)

    def saw_all(self, options: Sequence[Option], verdict: str) -> None:
        """Remembers several, by their replicas' names."""
        if self.hints.explain:
            for option in options:
                self.saw(option.served.replica.name, verdict, option.prediction)

    def tried(self, option: Option, error: Exception) -> None:
        """One was asked and gave no answer."""
        self.tries.append(f"{option.served.replica.name}: {error}")
        self.saw(option.served.replica.name, str(error), option.prediction)

    def answered_by(self, option: Option) -> Routed:
        """How it was routed, in the end."""
        name = option.served.replica.name
        self.saw(name, "chosen", option.prediction)
        return self.told(name if self.steps_down and option.variant.step_down else "")

    def told(self, step_down: str = "") -> Routed:
        """How it was routed so far."""
        policy = self.route.policy.__name__
        candidates = tuple(self.seen.values())
        return Routed(self.route.name, self.rule, policy, candidates, tuple(self.tries), step_down, self.hedged)
