"""Policies: numbers in, an order out."""

from collections import Counter
from dataclasses import replace

import pytest

from service.intake import TensorIntake
from service.routing.policies import Option, Variant, by_chance, by_hash, fastest, ordered, weighted
from service.routing.served import Served
from service.types import Prediction
from tests.service.routing.doubles import SIGNATURE, Double


def options(**weights: float) -> list[Option]:
    return [
        Option(Variant(name, weight=weight), Served(TensorIntake(SIGNATURE), Double(name)))
        for name, weight in weights.items()
    ]


def names(order: list[Option]) -> list[str]:
    return [option.variant.model for option in order]


def test_ordered_is_as_written() -> None:
    assert names(ordered(options(b=1, a=1), by_chance)) == ["b", "a"]


def test_fastest_is_by_prediction_and_else_as_written() -> None:
    seconds = {"a": 0.3, "b": 0.1, "c": 0.3, "d": 0.2}
    given = [replace(o, prediction=Prediction(seconds=seconds[o.variant.model])) for o in options(a=1, b=1, c=1, d=1)]
    assert names(fastest(given, by_chance)) == ["b", "d", "a", "c"]


@pytest.mark.parametrize("sticky", [True, False])
def test_weighted_is_near_its_shares(sticky: bool) -> None:
    given = options(a=7, b=2, c=1, none=0)
    draws = [by_hash(f"user {number}".encode()) if sticky else by_chance for number in range(10_000)]
    firsts = Counter(names(weighted(given, draw))[0] for draw in draws)
    assert firsts["none"] == 0
    assert firsts["a"] == pytest.approx(7000, abs=250)
    assert firsts["b"] == pytest.approx(2000, abs=200)
    assert firsts["c"] == pytest.approx(1000, abs=150)


def test_weighted_is_the_same_for_the_same_caller_everywhere() -> None:
    given = options(a=1, b=1, c=1)
    order = names(weighted(given, by_hash(b"someone")))
    assert names(weighted(given, by_hash(b"someone"))) == order
    assert names(weighted(options(c=1, b=1, a=1), by_hash(b"someone"))) == order
    assert order == ["a", "b", "c"], "stable over versions and machines; a change moves every caller"


def test_only_the_callers_of_what_is_away_move() -> None:
    given = options(a=1, b=1, c=1)
    draws = [by_hash(str(number).encode()) for number in range(1000)]
    before = [names(weighted(given, draw)) for draw in draws]
    after = [names(weighted(given[:2], draw)) for draw in draws]
    assert all(was[0] == now[0] for was, now in zip(before, after, strict=True) if was[0] != "c")
    assert Counter(now[0] for was, now in zip(before, after, strict=True) if was[0] == "c")["a"] > 100


def test_without_weight_it_is_a_fallback() -> None:
    assert names(weighted(options(none=0, a=1), by_chance)) == ["a", "none"]
