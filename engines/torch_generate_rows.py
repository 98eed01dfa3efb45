"""The rows of a running batch: prompts go in by pieces, answers grow by a token a step, and all share one cache.

The rows that grow are slots 0, 1, ... of the cache, and the one whose prompt is going in is the slot behind them, so a
pass reads its rows without copying. A row that leaves is replaced by the last one.
"""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from engines.text_generator import ChosenToken, GenerationRequest, GeneratorLimits, RequestId
from engines.torch_generate_cache import SlotCache
from engines.torch_generate_model import CausalModel
from engines.torch_generate_sampling import Chooser, choose


class Row:
    """One answer. `tokens`: the prompt's and its own; `filled`: those whose keys and values are in the cache."""

    __slots__ = ("chooser", "filled", "most", "request", "request_id", "tokens")

    def __init__(self, request_id: RequestId, request: GenerationRequest, device: torch.device) -> None:
        self.request_id = request_id
        self.request = request
        self.tokens: list[int] = request.prompt.tolist()
        self.filled = 0
        self.most = len(self.tokens) + request.sampling.max_tokens
        self.chooser = Chooser(request.sampling, self.tokens, device)


Chosen = tuple[Row, ChosenToken]


class Rows:
    """Rows that wait, the one that is filled, and those that grow. All but `add` runs within `model.running()`."""

    def __init__(self, model: CausalModel, layers: int, limits: GeneratorLimits) -> None:
        self._model = model
        self._cache = SlotCache(layers, limits.sequences, limits.kv_tokens)
        self._limits = limits
        self._waiting: deque[Row] = deque()
        self._filling: Row | None = None
        self._growing: list[Row] = []

    def add(self, request_id: RequestId, request: GenerationRequest) -> None:
        """Takes a request; it waits here while the cache has no room for all it may come to need."""
        self._waiting.append(Row(request_id, request, self._model.device))

    def grow(self) -> list[Chosen]:
        """The next token of every row that grows."""
        rows = list(self._growing)
        if not rows:
            return []
        starts, last = [row.filled for row in rows], [row.tokens[-1:] for row in rows]
        logits = self._model.advance(self._cache, 0, starts, last)
        for row in rows:
            row.filled += 1
        return _choose(rows, logits)

    def fill(self, tokens: int) -> list[Chosen]:
        """The first token of each row whose prompt is in, after at most so many tokens of prompts more."""
        done: list[Row] = []
        logits: list[Tensor] = []
        while tokens and (row := self._next()) is not None:
            piece = row.tokens[row.filled : row.filled + tokens]
            answer = self._model.advance(self._cache, len(self._growing), [row.filled], [piece])
            row.filled += len(piece)
            tokens -= len(piece)
            if row.filled == len(row.tokens):
                self._filling = None
                self._growing.append(row)
                done.append(row)
                logits.append(answer)
        return _choose(done, torch.cat(logits)) if done else []

    def drop(self, request_id: RequestId) -> None:
        """Takes a row out, wherever it is; unknown ones are ignored."""
        if self._filling is not None and self._filling.request_id == request_id:
            self._filling = None
        for row in self._waiting:
            if row.request_id == request_id:
                self._waiting.remove(row)
                return
        for slot, row in enumerate(self._growing):
            if row.request_id == request_id:
                self._vacate(slot)
                return

    def _next(self) -> Row | None:
        """The row to fill: the one begun, else the first that waits, where there is room for it."""
        if self._filling is None and self._waiting and self._has_room(self._waiting[0]):
            self._filling = self._waiting.popleft()
            self._cache.clear(len(self._growing))
        return self._filling

    def _has_room(self, row: Row) -> bool:
        rows = len(self._growing) + 1
        if rows > self._limits.sequences:
            return False
        longest = max(row.most, *(other.most for other in self._growing)) if self._growing else row.most
        held = max((other.filled for other in self._growing), default=0)
        return self._cache.make_room(rows, longest, (len(self._growing), held))

    def _vacate(self, slot: int) -> None:
        """Moves the last row into `slot`, and the one being filled up behind the rest."""
        last = len(self._growing) - 1
        gone, moved = self._growing[slot], self._growing.pop()
        if slot < last:
            self._growing[slot] = moved
            self._cache.move(last, slot, max(gone.filled, moved.filled))
        if self._filling is not None:
            self._cache.move(last + 1, last, max(moved.filled, self._filling.filled))


def _choose(rows: Sequence[Row], logits: Tensor) -> list[Chosen]:
    chosen = choose(logits, [row.chooser for row in rows])
    for row, token in zip(rows, chosen, strict=True):
        row.tokens.append(token.id)
    return list(zip(rows, chosen, strict=True))
