"""What a student learns from: texts, variations of them, batches packed without padding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engines.batch import Packed, Placement
from engines.tensor import Array

LEAST_WIDTH = 64
_SHARE = 0.2
"""Of the words of a variation, those that are left out or replaced."""

Words = list[str]
Change = Callable[[np.random.Generator, Words, Words], Words]


@dataclass(frozen=True, slots=True)
class Lot:
    """One packed batch. `arrays`: token, position and segment ids, INT64 [rows, width]; the text numbered `texts[i]`
    lies in row `rows[i]` as its segment `segments[i]`."""

    arrays: tuple[Array, Array, Array]
    texts: Array
    rows: Array
    segments: Array


def variations(texts: Sequence[str], copies: int, seed: int) -> list[str]:
    """`copies` changed versions of each text: words left out, words replaced by others of `texts`, two texts joined."""
    random = np.random.default_rng([seed, 1])
    split = [text.split() for text in texts]
    vocabulary = [word for words in split for word in words]
    changes: tuple[Change, ...] = (_without_some, _with_others, _joined)
    made = []
    for _ in range(copies):
        for words in split:
            change = changes[random.integers(len(changes))]
            other = split[random.integers(len(split))]
            made.append(" ".join(change(random, words, vocabulary if change is _with_others else other) or words))
    return made


def _without_some(random: np.random.Generator, words: Words, other: Words) -> Words:
    return [word for word, left in zip(words, random.random(len(words)), strict=True) if left >= _SHARE]


def _with_others(random: np.random.Generator, words: Words, vocabulary: Words) -> Words:
    replaced = random.random(len(words)) < _SHARE
    return [
        vocabulary[random.integers(len(vocabulary))] if other else word
        for word, other in zip(words, replaced, strict=True)
    ]


def _joined(random: np.random.Generator, words: Words, other: Words) -> Words:
    return [*words, *other]


def width_of(tokens: Sequence[Array]) -> int:
    """The width of rows that any of these texts fits into."""
    return max(LEAST_WIDTH, max(len(ids) for ids in tokens))


def order_of(texts: int, seed: int, epoch: int) -> Array:
    """INT64 [texts]: the order in which an epoch takes them; the same for the same seed and epoch."""
    return np.random.default_rng([seed, 2, epoch]).permutation(texts)


def packed(tokens: Sequence[Array], texts: Array, width: int) -> Lot:
    """The texts numbered `texts` in rows of `width`.

    Longest first, each text goes into the first row that has room: first fit decreasing."""
    chosen = np.array(sorted(texts, key=lambda text: -len(tokens[text])))
    room: list[int] = []
    held: list[int] = []
    placements = []
    for text in chosen:
        length = len(tokens[text])
        row = next((row for row, left in enumerate(room) if left >= length), len(room))
        if row == len(room):
            room.append(width)
            held.append(0)
        placements.append(Placement(row, width - room[row], held[row]))
        room[row] -= length
        held[row] += 1
    batch = Packed(len(room), width, tuple(placements)).collate([{"input_ids": tokens[text]} for text in chosen])
    arrays = (batch.inputs["input_ids"], batch.inputs["position_ids"], batch.inputs["segment_ids"])
    rows = np.array([place.row for place in placements])
    return Lot(arrays, chosen, rows, np.array([place.segment for place in placements]))
