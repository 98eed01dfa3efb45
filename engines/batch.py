"""A batch and the layouts that make one: stacked, padded, ragged or packed. A batch knows no callers.

A layout is decided by the batcher; `collate` lays requests out for the engine, `split` takes the answers apart again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from typing import Any, Protocol

import numpy as np

from engines.errors import InvalidOutputError
from engines.model_config import BatchInput
from engines.tensor import Array, Tensors


@dataclass(frozen=True, slots=True)
class Batch:
    """What an engine runs. `size`: the leading dimension (1 where a model has no batch dimension)."""

    inputs: dict[str, Array]
    size: int


class Layout(Protocol):
    """How the requests of one batch are laid out. `slots`: cost units the engine computes, padding included."""

    @property
    def slots(self) -> int: ...

    def collate(self, requests: Sequence[Tensors]) -> Batch: ...

    def split(self, outputs: Tensors) -> list[dict[str, Array]]: ...


@dataclass(frozen=True, slots=True)
class Single:
    """One request as it came. `rows`: its batch dimension, 1 where the model has none."""

    rows: int = 1

    @property
    def slots(self) -> int:
        return self.rows

    def collate(self, requests: Sequence[Tensors]) -> Batch:
        (request,) = requests
        return Batch(dict(request), self.rows)

    def split(self, outputs: Tensors) -> list[dict[str, Array]]:
        return [dict(outputs)]


@dataclass(frozen=True, slots=True)
class Stacked:
    """Requests of equal shapes, one after the other along the batch dimension. `rows`: rows of each request."""

    rows: tuple[int, ...]

    @property
    def slots(self) -> int:
        return sum(self.rows)

    def collate(self, requests: Sequence[Tensors]) -> Batch:
        if len(requests) == 1:
            return Batch(dict(requests[0]), self.rows[0])
        names = requests[0].keys()
        return Batch({name: np.concatenate([r[name] for r in requests]) for name in names}, self.slots)

    def split(self, outputs: Tensors) -> list[dict[str, Array]]:
        return split_rows(outputs, self.rows)


@dataclass(frozen=True, slots=True)
class Padded:
    """Requests whose inputs differ in length, filled up to the longest. `values`: the filler of each input.

    `sequences`: outputs as long as the inputs, cut back to `lengths`, those of the requests.
    """

    rows: tuple[int, ...]
    length: int
    values: Mapping[str, int]
    lengths: tuple[int, ...] = ()
    sequences: frozenset[str] = frozenset()

    @property
    def slots(self) -> int:
        return sum(self.rows) * self.length

    def collate(self, requests: Sequence[Tensors]) -> Batch:
        size = sum(self.rows)
        inputs: dict[str, Array] = {}
        for name, first in requests[0].items():
            if name not in self.values:
                inputs[name] = np.concatenate([r[name] for r in requests])
                continue
            filled = np.full((size, self.length, *first.shape[2:]), self.values[name], dtype=first.dtype)
            start = 0
            for request in requests:
                part = request[name]
                filled[start : start + len(part), : part.shape[1]] = part
                start += len(part)
            inputs[name] = filled
        return Batch(inputs, size)

    def split(self, outputs: Tensors) -> list[dict[str, Array]]:
        parts = split_rows(outputs, self.rows)
        for name in self.sequences & outputs.keys():
            if outputs[name].shape[1:2] == (self.length,):
                for part, length in zip(parts, self.lengths, strict=True):
                    part[name] = part[name][:, :length]
        return parts


@dataclass(frozen=True, slots=True)
class Ragged:
    """Triton's ragged batching: ragged inputs are laid end to end in one dimension, `batch_inputs` say where each ends.

    `scattered`: outputs that the batch gives in one piece, and the shape of each request's part of it.
    Source: Triton Inference Server user guide, "Ragged Batching".
    """

    rows: tuple[int, ...]
    ragged: frozenset[str]
    batch_inputs: tuple[BatchInput, ...]
    scattered: Mapping[str, Sequence[tuple[int, ...]]] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        return sum(self.rows)

    def collate(self, requests: Sequence[Tensors]) -> Batch:
        inputs: dict[str, Array] = {}
        for name in requests[0]:
            parts = [r[name] for r in requests]
            inputs[name] = np.concatenate([p.ravel() for p in parts] if name in self.ragged else parts)
        for extra in self.batch_inputs:
            inputs[extra.target_name] = _batch_input(extra, [r[extra.source_input] for r in requests])
        return Batch(inputs, self.slots)

    def split(self, outputs: Tensors) -> list[dict[str, Array]]:
        parts = split_rows({name: o for name, o in outputs.items() if name not in self.scattered}, self.rows)
        for name in self.scattered.keys() & outputs.keys():
            for part, array in zip(parts, _scatter(name, outputs[name], self.scattered[name]), strict=True):
                part[name] = array
        return parts


def _scatter(name: str, output: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    ends = list(accumulate(map(prod, shapes)))
    if output.size != ends[-1]:
        raise InvalidOutputError(f"output {name!r} has {output.size} elements, wanted {ends[-1]} for {list(shapes)}")
    flat = output.ravel()
    return [flat[end - prod(shape) : end].reshape(shape) for shape, end in zip(shapes, ends, strict=True)]


def _batch_input(extra: BatchInput, sources: Sequence[Array]) -> Array:
    dtype: np.dtype[Any] = extra.datatype.numpy
    counts = [source.size for source in sources]
    match extra.kind:
        case "BATCH_ELEMENT_COUNT":
            return np.array(counts, dtype)
        case "BATCH_ACCUMULATED_ELEMENT_COUNT":
            return np.array(list(accumulate(counts)), dtype)
        case "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO":
            return np.array([0, *accumulate(counts)], dtype)
        case "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE":
            return np.zeros(max(counts), dtype)
        case "BATCH_ITEM_SHAPE":
            return np.array([source.shape[1:] for source in sources for _ in range(len(source))], dtype)
        case "BATCH_ITEM_SHAPE_FLATTEN":
            return np.array([size for s in sources for _ in range(len(s)) for size in s.shape[1:]], dtype)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one text lies: its row, its first token there, and its segment (its number within the row)."""

    row: int
    start: int
    segment: int


@dataclass(frozen=True, slots=True)
class Packed:
    """Texts laid end to end in `rows` rows of `width` tokens; no text crosses a row.

    The engine gets `input_ids`, `position_ids` and `segment_ids`, each [rows, width]; `segment_ids` numbers the texts
    of a row from 0 and is -1 where no text lies. Its outputs are [rows, segments, ...], one entry a text.
    Source: M. M. Krell et al., "Efficient Sequence Packing without Cross-contamination", arXiv:2107.02027.
    """

    rows: int
    width: int
    placements: tuple[Placement, ...]

    @property
    def slots(self) -> int:
        return self.rows * self.width

    def collate(self, requests: Sequence[Tensors]) -> Batch:
        shape = (self.rows, self.width)
        first = requests[0]["input_ids"]
        input_ids = np.zeros(shape, first.dtype)
        position_ids = np.zeros(shape, first.dtype)
        segment_ids = np.full(shape, -1, first.dtype)
        positions = np.arange(self.width, dtype=first.dtype)
        for request, place in zip(requests, self.placements, strict=True):
            tokens = request["input_ids"]
            end = place.start + len(tokens)
            input_ids[place.row, place.start : end] = tokens
            position_ids[place.row, place.start : end] = positions[: len(tokens)]
            segment_ids[place.row, place.start : end] = place.segment
        inputs = {"input_ids": input_ids, "position_ids": position_ids, "segment_ids": segment_ids}
        return Batch(inputs, self.rows)

    def split(self, outputs: Tensors) -> list[dict[str, Array]]:
        rows = np.array([place.row for place in self.placements])
        segments = np.array([place.segment for place in self.placements])
        check_rows(outputs, self.rows)
        picked = {name: output[rows, segments] for name, output in outputs.items()}
        return [{name: o[i : i + 1] for name, o in picked.items()} for i in range(len(self.placements))]


def check_rows(outputs: Tensors, rows: int) -> None:
    """Raises `InvalidOutputError` where an output's leading dimension is not `rows`."""
    for name, output in outputs.items():
        if output.ndim == 0 or len(output) != rows:
            raise InvalidOutputError(f"output {name!r} has shape {list(output.shape)}, wanted {rows} rows")


def split_rows(outputs: Tensors, rows: Sequence[int]) -> list[dict[str, Array]]:
    """Cuts outputs along the batch dimension into one part a request of `rows` rows each."""
    check_rows(outputs, sum(rows))
    if len(rows) == 1:
        return [dict(outputs)]
    ends = list(accumulate(rows))
    return [
        {name: output[end - count : end] for name, output in outputs.items()}
        for count, end in zip(rows, ends, strict=True)
    ]
