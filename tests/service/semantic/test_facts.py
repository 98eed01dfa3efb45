"""The facts of a question: pairs that say the same, and pairs that do not."""

import csv
import re
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.semantic.facts import facts_of
from service.semantic.numbers import canonical

BANKING77 = Path(__file__).parents[4] / "shared" / "data" / "banking77" / "train.csv"

SAME = [
    ("I paid $1,000.50 to Bob", "I paid 1000.50 to Bob"),
    ("I paid $1,000.50", "I paid 1.000,50 dollars"),
    ("I paid US$50", "I paid 50.00 USD"),
    ("a fee of £1.50", "a fee of 1.5 pounds"),
    ("€150 are missing", "a hundred and fifty euros are missing"),
    ("EUR 5k", "5,000 €"),
    ("on 4 July", "on July 4th"),
    ("on the 4th of July 2024", "on Jul 4, 2024"),
    ("on 2024-07-24", "on 24/07/2024"),
    ("at 3pm", "at 15:00"),
    ("my card ending 1234", "my card that ends in 1234"),
    ("my card **** 1234", "my card with the last four digits 1234"),
    ("card 4111 1111 1111 1111", "card 4111-1111-1111-1111"),
    ("to DE89 3704 0044 0532 0130 00", "to de89370400440532013000"),
    ("it takes 2 days", "it takes two days"),
    ("it takes 24 hrs", "it takes twenty-four hours"),
    ("a fee of 5%", "a fee of five percent"),
    ("my card isn't here", "my card is not here"),
    ("Who am I?", "what am i"),
]
DIFFERENT = [
    ("I paid $50", "I paid $500"),
    ("I paid $50", "I paid €50"),
    ("I paid $50 and £20", "I paid £20 and $50 more"),
    ("from 50 to 100", "from 100 to 50"),
    ("I paid 1.000", "I paid 1000"),
    ("on 4 July", "on 5 July"),
    ("on 4 July", "on 4 June"),
    ("on 4 July 2023", "on 4 July 2024"),
    ("on 04/07/2024", "on 4 July 2024"),
    ("at 3pm", "at 3am"),
    ("my card ending 1234", "my card ending 1235"),
    ("my card ending 1234", "I paid 1234"),
    ("to DE89370400440532013000", "to DE89370400440532013001"),
    ("it takes 2 days", "it takes 2 weeks"),
    ("it was 2 days ago", "it takes 2 days"),
    ("it came yesterday", "it came today"),
    ("it came on Monday", "it came on Tuesday"),
    ("I got -50", "I got 50"),
    ("order TX123", "order TX124"),
    ("PIN 0042", "PIN 42"),
    ("exchange to euros", "exchange to dollars"),
    ("my card is here", "my card is not here"),
    ("I can pay", "I can't pay"),
    ("I paid .5 dollars", "I paid .7 dollars"),
    ("version 1.2.3", "version 1.2.4"),
    ("items 3,4,5", "items 3,4,6"),
    ("code _5_", "code _6_"),
    ("code é5", "code é6"),
    ("reference 1" + 30 * "0", "reference 1" + 29 * "0" + "1"),
    ("from $5 to €6", "from €5 to $6"),
    ("$5 and 6", "5 and $6"),
    ("this weekend", "last weekend"),
    ("I am able to pay", "I am unable to pay"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same(one: str, other: str) -> None:
    assert facts_of(one).fits(facts_of(other)), (facts_of(one), facts_of(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_not_the_same(one: str, other: str) -> None:
    assert not facts_of(one).fits(facts_of(other)), facts_of(one)


@pytest.mark.parametrize(
    ("digits", "wanted"),
    [
        ("1,000", "1000"),
        ("1.000.000", "1000000"),
        ("1 000", "1000"),
        ("1.5", "1.5"),
        ("1,50", "1.5"),
        ("0.000", "'0.000"),
    ],
)
def test_numbers_have_one_form(digits: str, wanted: str) -> None:
    assert canonical(digits) == wanted


@given(st.text(max_size=200) | st.from_regex(r"[0-9.,:/$€ a-e-]{0,60}", fullmatch=True))
def test_any_text_has_facts_and_fits_itself(text: str) -> None:
    assert facts_of(text).fits(facts_of(text))


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_two_numbers_fit_only_where_they_are_equal(one: int, other: int) -> None:
    assert facts_of(f"I paid {one:,} here").fits(facts_of(f"I paid {other} here")) == (one == other)


# Messages of Banking77 that mean the same, and that differ in what decides the answer.
@pytest.mark.parametrize(
    ("one", "other", "fit"),
    [
        ("I am still waiting on my card?", "I am still waiting for my card to arrive", True),
        ("How long does a card delivery take?", "How long will it take for my card to get here?", True),
        (
            "What can I do if my card still hasn't arrived after 2 weeks?",
            "It's been two weeks, my card hasn't come",
            True,
        ),
        (
            "What can I do if my card still hasn't arrived after 2 weeks?",
            "I've waited a week, it hasn't arrived",
            False,
        ),
        ("Is there a way to know when my card will arrive?", "My card has not arrived yet.", False),
        ("I was charged 1£ extra", "I was charged £1", True),
        ("I was charged 1£ extra", "I was charged £2 extra", False),
        ("Can I get 2 cards?", "Can I get another card?", False),
    ],
)
def test_messages_of_a_bank(one: str, other: str, fit: bool) -> None:
    assert facts_of(one).fits(facts_of(other)) is fit


@pytest.mark.skipif(not BANKING77.exists(), reason="Banking77 is not at hand")
def test_numbers_of_banking77_are_told_apart() -> None:
    """Messages with other whole numbers in digits fit in no pair."""
    with BANKING77.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    in_words = re.compile(r"hundred|\d[.,]\d")
    with_digits = [text for text in texts if re.search(r"\d", text) and not in_words.search(text)]
    assert len(with_digits) > 100
    digits = {text: sorted(map(int, re.findall(r"\d+", text))) for text in with_digits}
    facts = {text: facts_of(text) for text in with_digits}
    wrong = [
        (one, other)
        for one, other in combinations(with_digits, 2)
        if digits[one] != digits[other] and facts[one].fits(facts[other])
    ]
    assert wrong == []
