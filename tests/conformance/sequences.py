"""The three sequences that Triton's sequence examples send, and what must come back."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

_VALUES = (11, 7, 5, 3, 2, 0, 1)


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence: `sent` to `model` under `sequence_id`; `answers` are the outputs, in order."""

    model: str
    sequence_id: int | str
    sent: Sequence[int]
    answers: Sequence[int]


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a sequence. `value` INT32 [1, 1]."""

    model: str
    sequence_id: int | str
    request_id: str
    value: npt.NDArray[np.int32]
    start: bool
    end: bool


def plain(offset: int) -> list[Example]:
    """Three sequences of the model that adds 1 to the first value; the third has a string as its id."""
    starts = ((0, 1, 1000 + 2 * offset), (100, -1, 1001 + 2 * offset), (20, -1, str(uuid.uuid4())))
    return [
        Example("simple_sequence", name, [first, *_signed(sign)], [first + 1, *_signed(sign)])
        for first, sign, name in starts
    ]


def dyna(offset: int) -> list[Example]:
    """Three sequences whose last answer has the id added; the third is summed up, and its id is a string."""
    first, second, third = 1000 + 2 * offset, 1001 + 2 * offset, 1002 + 2 * offset
    summed = list(accumulate([20, *_signed(-1)]))
    return [
        Example("simple_dyna_sequence", first, [0, *_signed(1)], [1, *_signed(1, first)]),
        Example("simple_dyna_sequence", second, [100, *_signed(-1)], [101, *_signed(-1, second)]),
        Example("simple_string_dyna_sequence", str(third), [20, *_signed(-1)], [*summed[:-1], summed[-1] + third]),
    ]


def steps(example: Example) -> Iterator[Step]:
    """Its requests; their ids are the sequence's and a number from 1."""
    for number, value in enumerate(example.sent, 1):
        yield Step(
            example.model,
            example.sequence_id,
            f"{example.sequence_id}_{number}",
            np.full((1, 1), value, np.int32),
            start=number == 1,
            end=number == len(example.sent),
        )


def answers_of(example: Example, answers: Iterable[tuple[str, npt.NDArray[np.int32]]]) -> list[int]:
    """What came back for this sequence, in the order it came; `answers`: request ids and outputs [1, 1]."""
    return [int(output[0, 0]) for name, output in answers if name.rpartition("_")[0] == str(example.sequence_id)]


def _signed(sign: int, last: int = 0) -> list[int]:
    return [sign * value for value in _VALUES[:-1]] + [sign * _VALUES[-1] + last]
