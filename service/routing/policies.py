"""The order in which a route asks its variants. Pure: numbers in, an order out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import random

from service.routing.served import Served
from service.types import NO_PREDICTION, Prediction


@dataclass(frozen=True, slots=True)
class Variant:
    """A model of a route. `quality` None: what the model promises. `step_down`: asked only where no other can answer.

    `weight`: its share under the policy `weighted`; 0: only a fallback.
    """

    model: str
    quality: float | None = None
    step_down: bool = False
    weight: float = 1.0


@dataclass(slots=True)
class Option:
    """A variant that could answer, and when it would."""

    variant: Variant
    served: Served
    prediction: Prediction = NO_PREDICTION


Draw = Callable[[str], float]
"""A number above 0 and up to 1 for the name of a variant."""
Policy = Callable[[Sequence[Option], Draw], list[Option]]


def ordered(options: Sequence[Option], draw: Draw) -> list[Option]:
    """As they are written; the later are the fallback of the earlier."""
    return list(options)


def fastest(options: Sequence[Option], draw: Draw) -> list[Option]:
    """The one that is predicted to answer first."""
    return sorted(options, key=lambda option: option.prediction.seconds)


def weighted(options: Sequence[Option], draw: Draw) -> list[Option]:
    """Each is the first as often as its weight says.

    Weighted rendezvous hashing: the least -ln(u) / weight wins (Efraimidis and Spirakis 2006 for random `u`). Where `u`
    is the hash of a caller, it keeps its variant, and if that is away, only its callers move.
    """
    return sorted(options, key=lambda option: _score(option.variant, draw))


def _score(variant: Variant, draw: Draw) -> float:
    return -math.log(draw(variant.model)) / variant.weight if variant.weight else math.inf


POLICIES: Mapping[str, Policy] = {"ordered": ordered, "fastest": fastest, "weighted": weighted}
BLIND = frozenset({ordered, weighted})
"""Policies that look at no prediction."""


def by_chance(name: str) -> float:
    """A `Draw` without memory."""
    return 1.0 - random()  # noqa: S311 - shares of traffic, no secrets


def by_hash(value: bytes) -> Draw:
    """A `Draw` that is always the same for the same `value`."""

    def draw(name: str) -> float:
        digest = blake2b(name.encode() + b"\0" + value, digest_size=8).digest()
        return (int.from_bytes(digest, "big") + 1) / 2**64

    return draw
