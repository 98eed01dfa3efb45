"""How a route chooses among the variants that are ready."""

from collections.abc import Callable, Mapping, Sequence

from service.routing.replica import Replica

Policy = Callable[[Sequence[Replica]], Replica]


def ordered(replicas: Sequence[Replica]) -> Replica:
    """The first; the others are its fallback."""
    return replicas[0]


def fastest(replicas: Sequence[Replica]) -> Replica:
    """The one that is predicted to answer first."""
    return min(replicas, key=lambda replica: replica.predict(1).seconds)


POLICIES: Mapping[str, Policy] = {"ordered": ordered, "fastest": fastest}
