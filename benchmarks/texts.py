"""Texts to measure with: Banking77 where it is at hand, else made-up messages with the same lengths."""

import csv
import random
from pathlib import Path

BANKING77 = Path(__file__).parents[2] / "shared" / "data" / "banking77" / "dev.csv"

_SENTENCE = """my card payment account transfer money why has been not yet still the a to I you can do how bank cash
machine pending top up limit fee charged exchange rate abroad identity verify app phone new old lost stolen"""
_MEAN_WORDS, _SPREAD, _LONGEST = 2.28, 0.62, 70


def load_texts(count: int) -> list[str]:
    """`count` messages in a random order that is the same at every call."""
    shuffle = random.Random(7)  # noqa: S311
    if not BANKING77.exists():
        return [_message(shuffle) for _ in range(count)]
    with BANKING77.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    shuffle.shuffle(texts)
    return texts[:count]


def _message(source: random.Random) -> str:
    """Log-normal lengths: in MiniLM tokens a mean near 15, the 95th percentile near 31, at most about 80."""
    words = min(_LONGEST, max(2, round(source.lognormvariate(_MEAN_WORDS, _SPREAD))))
    return " ".join(source.choices(_SENTENCE.split(), k=words)).capitalize() + "?"
