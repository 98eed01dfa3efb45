"""The cheap gate: which windows of a long text have to be computed, decided without the model.

A window's cheap vector is the mean of its tokens' rows of the embedding table, rare tokens of the text counting more
(smooth inverse frequency: Arora, Liang, Ma, "A simple but tough-to-beat baseline for sentence embeddings", 2017).
Windows are kept so that their mean comes nearest to the mean of all (kernel herding: Chen, Welling, Smola,
"Super-samples from kernel herding", 2010), then weighed by least squares, drawn towards their lengths.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from engines.errors import ModelLoadError
from engines.model_files import file_inside
from engines.text import TokenIds

GATE_FILE = "text_gate.safetensors"
TABLE, SCALES = "table", "scales"
LEAST_LIKENESS = 0.998
"""Cosine of the cheap vector of what is kept to that of all, below which no more is left out. Real vectors differ
more: at this likeness their cosine was 0.948 and above, on 21 documents of 10,000 tokens."""
_COMMON = 0.01
"""A token's share of the text at which it counts half of a rare one. 0.001 to 0.01 do about as well."""
_PULL = 0.1
"""How strongly the weights are drawn to the windows' lengths, against least squares."""

_Reals = NDArray[np.float64]


class TextGate:
    """Chooses windows by the embedding table, INT8 `table` [vocabulary, dimensions] times FP32 `scales` [vocabulary].

    Threads may share it.
    """

    def __init__(self, table: NDArray[np.int8], scales: NDArray[np.float32]) -> None:
        self._table = table
        self._scales = scales

    @classmethod
    def from_folder(cls, folder: Path, vocabulary: int) -> "TextGate":
        """Reads the gate's file of a version's folder; raises `ModelLoadError`. `vocabulary`: the tokenizer's size."""
        path = file_inside(folder, GATE_FILE)
        try:
            found = load_file(path)
            table, scales = found[TABLE], found[SCALES]
        except (OSError, SafetensorError, KeyError) as error:
            raise ModelLoadError(f"{path}: cannot be read as the gate's table: {error}; build it again") from None
        if table.dtype != np.int8 or table.ndim != 2 or scales.shape != table.shape[:1] or len(table) < vocabulary:
            raise ModelLoadError(
                f"{path}: wanted an INT8 table of at least {vocabulary} tokens, the tokenizer's vocabulary, and a scale"
                f" for each; found {table.dtype} {list(table.shape)}, scales {list(scales.shape)}; build it again"
            )
        return cls(table, cast(NDArray[np.float32], scales))

    def weigh(self, windows: Sequence[TokenIds], share: float) -> _Reals:
        """How many tokens each window stands for, FP64 [windows]; 0 leaves it out. The sum is that of all tokens.

        Windows that are equal are kept once. Of the others' tokens at most the `share` is left out, less where what
        is kept would not be like the whole (`LEAST_LIKENESS`).
        """
        first: dict[bytes, int] = {}
        place = [first.setdefault(ids.tobytes(), number) for number, ids in enumerate(windows)]
        masses = np.bincount(place, [len(ids) for ids in windows], len(windows))
        distinct = np.array(sorted(first.values()))
        vectors = self._vectors([windows[number] for number in distinct])
        lengths = np.array([len(windows[number]) for number in distinct])
        weights = np.zeros(len(windows))
        kept = _herd(vectors, masses[distinct], lengths, share)
        weights[distinct[kept]] = _fit(vectors, masses[distinct], kept)
        return weights

    def _vectors(self, windows: Sequence[TokenIds]) -> _Reals:
        """FP64 [windows, dimensions], of length 1, as those of the model."""
        ids, tokens = np.unique(np.concatenate(windows), return_inverse=True)
        shares = np.bincount(tokens) / len(tokens)
        scales = _COMMON / (_COMMON + shares)
        rows = self._table[ids].astype(np.float32) * self._scales[ids, np.newaxis]
        vectors, start = np.empty((len(windows), rows.shape[1])), 0
        for number, window in enumerate(windows):
            mine = tokens[start : start + len(window)]
            vectors[number] = scales[mine] @ rows[mine]
            start += len(window)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return cast(_Reals, vectors / np.maximum(norms, np.finfo(np.float64).tiny))


def _herd(vectors: _Reals, masses: _Reals, lengths: NDArray[np.int64], share: float) -> list[int]:
    """The windows to keep, each the one that brings the mean of those kept nearest to the mean of all."""
    target = masses @ vectors / masses.sum()
    wanted = (1 - share) * lengths.sum()
    kept: list[int] = []
    total, mass = np.zeros_like(target), 0.0
    for _ in range(len(vectors)):
        means = (total + vectors * masses[:, np.newaxis]) / (mass + masses)[:, np.newaxis]
        distances = np.linalg.norm(means - target, axis=1)
        distances[kept] = np.inf
        best = int(distances.argmin())
        kept.append(best)
        total, mass = total + vectors[best] * masses[best], mass + masses[best]
        if lengths[kept].sum() >= wanted and _like(total, target):
            break
    return kept


def _like(found: _Reals, wanted: _Reals) -> bool:
    return bool(found @ wanted >= LEAST_LIKENESS * np.linalg.norm(found) * np.linalg.norm(wanted))


def _fit(vectors: _Reals, masses: _Reals, kept: Sequence[int]) -> _Reals:
    """Weights of the kept windows, none negative, to give the mean of all: ridge regression around `masses`."""
    all_of_it = masses.sum()
    target = masses @ vectors / all_of_it
    chosen = vectors[kept]
    start = masses[kept] / masses[kept].sum()
    alike = chosen @ chosen.T
    pull = _PULL * np.trace(alike) / len(kept) + np.finfo(np.float64).tiny
    shift = np.linalg.solve(alike + pull * np.eye(len(kept)), chosen @ (target - start @ chosen))
    weights = np.maximum(start + shift, 0)
    return cast(_Reals, weights / weights.sum() * all_of_it)
