"""Texts to measure with: Banking77 where it is at hand, else made-up messages with the same lengths."""

import csv
import random
from pathlib import Path

from engines.build.texts import made_up_texts

BANKING77 = Path(__file__).parents[2] / "shared" / "data" / "banking77" / "dev.csv"
_SEED = 7


def load_texts(count: int) -> list[str]:
    """`count` messages in a random order that is the same at every call."""
    if not BANKING77.exists():
        return made_up_texts(count, _SEED)
    with BANKING77.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    random.Random(_SEED).shuffle(texts)  # noqa: S311
    return texts[:count]
