"""Long texts by content: cut into windows that fit the model, and their answers joined to one a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import InvalidInputError, ModelLoadError
from engines.model_config import ModelConfig
from engines.tensor import Array, TensorSpec
from engines.text import TokenIds, Tokenizer
from engines.text_gate import GATE_FILE, TextGate
from engines.text_pieces import PIECE, WORD, Pieces
from service.errors import InvalidRequestError
from service.types import InferRequest, Outputs

MOST_TOKENS = 65_536
"""Of one text: a small book's chapter or two, some 15 s of MiniLM on two cores."""
GATE = "gate"
"""The request's parameter: the share of windows that may be left out."""
_TAIL = 4
"""A window ends with a sentence where one ends in its last quarter, else with a word."""
_UNIT = 1e-3
"""How far from 1 the length of a vector may be that the model made of length 1."""

_Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Split:
    """A text as windows: their token ids with special ones, and how many tokens each stands for.

    `tokens`: of the whole text, as if it were one window.
    """

    windows: Sequence[TokenIds]
    weights: _Reals
    tokens: int


@dataclass(frozen=True, slots=True)
class Windows:
    """How a model's long texts are split. `gate` None: the model has no table for it. `share`: see `share_of`."""

    tokenizer: Tokenizer
    gate: TextGate | None
    share: float

    def share_of(self, request: InferRequest) -> float:
        """The share of windows that may be left out: the request's parameter `gate`, else the model's.

        Raises `InvalidRequestError` for one that is no number from 0 to below 1, or that this model cannot serve.
        """
        found = request.parameters.get(GATE, self.share) if request.parameters else self.share
        if isinstance(found, bool | str) or not 0 <= found < 1:
            raise InvalidRequestError(f"parameter {GATE!r} is {found!r}; give a number from 0 to below 1", GATE)
        if found and self.gate is None:
            raise InvalidRequestError(
                f"parameter {GATE!r} is {found:g}, but the model has no {GATE_FILE}; leave it out, or build it again",
                GATE,
            )
        return float(found)

    def split(self, texts: Sequence[bytes], share: float, most: int) -> list[Split]:
        """Each text as one window where it fits, else as several. Blocks; releases Python's lock while it tokenises.

        Raises `InvalidInputError` for a text of more than `MOST_TOKENS` tokens, and for more than `most` windows.
        """
        pieces = self.tokenizer.pieces(texts, MOST_TOKENS)
        cuts = [bounds(each.breaks, self.tokenizer.max_tokens - each.special) for each in pieces]
        windows = sum(len(each) - 1 for each in cuts)
        if windows > most:
            raise InvalidInputError(
                f"the texts make {windows} windows of {self.tokenizer.max_tokens} tokens, the queue holds {most};"
                " send them in several requests"
            )
        return [self._split(each, cut, share) for each, cut in zip(pieces, cuts, strict=True)]

    def _split(self, pieces: Pieces, cuts: Sequence[int], share: float) -> Split:
        spans = list(pairwise(cuts))
        weights = np.diff(np.array(cuts, np.float64))
        if share and self.gate and len(spans) > 1:
            weights = self.gate.weigh([pieces.ids[start:end] for start, end in spans], share)
        kept = np.flatnonzero(weights).tolist() if len(spans) > 1 else [0]
        windows = [pieces.window(*spans[number]) for number in kept]
        return Split(windows, weights[kept], len(pieces.ids) + pieces.special)

    def cost(self, costs: Sequence[int], request: InferRequest) -> int:
        """About how many tokens are computed of texts of so many each, where `request` names no wrong share."""
        most, share = self.tokenizer.max_tokens, request.parameters.get(GATE, self.share)
        if max(costs, default=0) <= most or not isinstance(share, int | float) or not 0 <= share < 1:
            return sum(costs)
        return sum([cost if cost <= most else int(cost * (1 - share)) for cost in costs])


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """A `service.types.Join`: one row a text, the mean of its windows' rows by their weights.

    `weights`: FP64 [windows] of each text, in the order of the parts. Where the model's vectors have length 1, so has
    the mean.
    """

    weights: Sequence[_Reals]

    def __call__(self, parts: Sequence[Outputs]) -> Outputs:
        return {name: np.concatenate(self._rows([part[name] for part in parts])) for name in parts[0]}

    def _rows(self, parts: Sequence[Array]) -> list[Array]:
        rows, start = [], 0
        for weights in self.weights:
            mine = parts[start : start + len(weights)]
            rows.append(mine[0] if len(mine) == 1 else _mean(np.concatenate(mine), weights))
            start += len(weights)
        return rows


def _mean(rows: Array, weights: _Reals) -> Array:
    """[1, ...] of rows [windows, ...]."""
    mean = weights @ rows.astype(np.float64) / weights.sum()
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    length = np.linalg.norm(mean)
    if length > 0 and (np.abs(lengths - 1) <= _UNIT).all():
        mean = mean / length
    joined: Array = mean[np.newaxis].astype(rows.dtype)
    return joined


def bounds(breaks: NDArray[np.int8], room: int) -> list[int]:
    """Where the windows of at most `room` tokens begin, and the end of the last. `breaks`: see `Pieces`.

    A word is cut only where it is longer than a window.
    """
    found = [0]
    while len(breaks) - found[-1] > room:
        found.append(found[-1] + _length(breaks[found[-1] : found[-1] + room + 1]))
    return [*found, len(breaks)]


def _length(breaks: NDArray[np.int8]) -> int:
    """Of a window that begins at the first of `breaks` [room + 1]."""
    room = len(breaks) - 1
    tail = breaks[room - room // _TAIL :]
    if tail.max() >= WORD:
        return room - int(tail[::-1].argmax())
    for least in (WORD, PIECE):
        places = np.flatnonzero(breaks[1:] >= least)
        if len(places):
            return int(places[-1]) + 1
    return room


def open_windows(config: ModelConfig, tokenizer: Tokenizer, outputs: Sequence[TensorSpec], version: Path) -> Windows:
    """How the model's long texts are split. `outputs`: as a caller sees them; `version`: the version's folder.

    Raises `ModelLoadError` where the answers have no mean, or the gate is asked for and its table is not there.
    """
    for spec in outputs:
        if spec.datatype.numpy.kind != "f" or len(spec.shape) != 1 or spec.shape[0] < 1:
            raise ModelLoadError(
                f"batchyard.text.windows joins one vector a text, but output {spec.name!r} is {spec.datatype}"
                f" {list(spec.shape)}; remove the parameter"
            )
    share = config.text.gate if config.text else 0.0
    gate = None
    if share or (version / GATE_FILE).exists():
        gate = TextGate.from_folder(version, tokenizer.vocabulary)
    return Windows(tokenizer, gate, share)
