"""The ledger against the server's counters, in numbers."""

from collections import Counter
from random import Random

import pytest

from tests.chaos.ledger import Entry, Ledger, Outcome, disagreements
from tests.chaos.questions import APART, PLAIN, Questions


@pytest.fixture
def ledger() -> Ledger:
    """Three right answers, an error, a refusal, a caller that left after asking, and one that left while asking."""
    made = Ledger("seed-1")
    questions = Questions(Random(1))
    for outcome, status in ((Outcome.RIGHT, 200),) * 3 + ((Outcome.ERROR, 500), (Outcome.REFUSED, 429)):
        entry = made.open(questions.good(PLAIN))
        entry.status = status
        made.end(entry, outcome)
    for whole in (True, False):
        entry = made.open(questions.good(PLAIN))
        entry.whole, entry.left = whole, True
        made.end(entry, Outcome.CUT)
    return made


def counted(success: int, backend: int = 1, rejected: int = 1, canceled: int = 0) -> Counter[tuple[str, str]]:
    numbers = {"success": success, "BACKEND": backend, "REJECTED": rejected, "CANCELED": canceled}
    return Counter({(PLAIN, reason): number for reason, number in numbers.items()})


@pytest.mark.parametrize("numbers", [counted(3), counted(4), counted(3, canceled=1)])
def test_who_left_after_asking_is_counted_once_or_not_at_all(ledger: Ledger, numbers: Counter[tuple[str, str]]) -> None:
    assert list(disagreements(ledger, numbers)) == []


@pytest.mark.parametrize(
    "numbers",
    [
        counted(2),
        counted(5),
        counted(4, canceled=1),
        counted(3, canceled=2),
        counted(3, backend=0),
        counted(3, backend=2),
        counted(3, rejected=2),
        counted(3) + Counter({(APART, "success"): 1}),
        counted(3) + Counter({(PLAIN, "OTHER"): 1}),
    ],
)
def test_one_more_or_less_is_told(ledger: Ledger, numbers: Counter[tuple[str, str]]) -> None:
    assert len(list(disagreements(ledger, numbers))) == 1


def test_every_request_ends_as_one_thing(ledger: Ledger) -> None:
    first: Entry = ledger.entries[0]
    assert sum(ledger.count(outcome) for outcome in Outcome) == len(ledger.entries)
    ledger.end(first, Outcome.RIGHT)
    assert first.outcome is Outcome.TWICE
    assert sum(ledger.count(outcome) for outcome in Outcome) == len(ledger.entries)


def test_a_request_without_an_end_is_lost_and_one_whose_caller_left_is_not(ledger: Ledger) -> None:
    assert ledger.lost == []
    never = ledger.open(Questions(Random(1)).good(PLAIN))
    cut = ledger.open(Questions(Random(1)).good(PLAIN))
    ledger.end(cut, Outcome.CUT)
    assert ledger.lost == [never, cut]


def test_an_answer_for_nobody_is_kept_in_mind(ledger: Ledger) -> None:
    ledger.again("someone-else")
    ledger.again(ledger.id_of(ledger.entries[1]))
    assert len(ledger.odd) == 1
    assert ledger.entries[1].outcome is Outcome.TWICE
