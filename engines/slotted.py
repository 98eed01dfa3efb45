"""The layout of sequences that keep their row of the batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engines.batch import Batch, check_rows
from engines.tensor import Array, Tensors


@dataclass(frozen=True, slots=True)
class Slotted:
    """Requests of one row and equal shapes; `rows`: of each, the row of the batch that it lies in.

    The rows up to the highest that no request lies in hold zeros, or what `blanks` says of an input, and what the model
    answers in them is dropped: Triton's null requests.
    """

    rows: tuple[int, ...]
    blanks: Mapping[str, float]

    @property
    def slots(self) -> int:
        return max(self.rows) + 1

    def collate(self, requests: Sequence[Tensors]) -> Batch:
        size = self.slots
        if size == len(requests) == 1:
            return Batch(dict(requests[0]), 1)
        inputs: dict[str, Array] = {}
        rows = list(self.rows)
        for name, first in requests[0].items():
            blank = b"" if first.dtype == object else self.blanks.get(name, 0)
            made = inputs[name] = np.full((size, *first.shape[1:]), blank, first.dtype)
            made[rows] = np.concatenate([request[name] for request in requests])
        return Batch(inputs, size)

    def split(self, outputs: Tensors) -> list[dict[str, Array]]:
        check_rows(outputs, self.slots)
        return [{name: output[row : row + 1] for name, output in outputs.items()} for row in self.rows]
