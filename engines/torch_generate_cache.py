"""The keys and values of all answers that run: one slot a row, each from its left edge, in one buffer a layer.

A row that joins or leaves moves no other row but the last, and a step writes one token a row in place. transformers'
DynamicCache copies all of the cache every step, and its rows have to end together.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

_ROUND = 64
"""Tokens that the room for a row is rounded up to, so that rows of similar lengths fit the same buffers."""


class SlotCache(Cache):
    """Room for at most `most_rows` rows, all as long as the longest, `most_tokens` in all; buffers grow as needed."""

    def __init__(self, layers: int, most_rows: int, most_tokens: int) -> None:
        self._most_rows = most_rows
        self._most_tokens = most_tokens
        self._rows = 0
        self._length = 0
        self._place = _Place(0, torch.zeros(0, 0, dtype=torch.long))
        self._slots = [_SlotLayer(self) for _ in range(layers)]
        super().__init__(layers=list(self._slots))

    def make_room(self, rows: int, longest: int, keep: tuple[int, int]) -> bool:
        """Room for `rows` rows of `longest` tokens; False where that is more than there may be.

        `keep`: rows, and tokens of each, that are held now. Buffers twice as high as needed, where they may be, make
        the next rows cheap. A single row is never refused for rounding.
        """
        if rows <= self._rows and longest <= self._length:
            return True
        rounded = -(-longest // _ROUND) * _ROUND
        generous = min(self._most_rows, max(rows, 2 * self._rows))
        for shape in ((generous, max(rounded, self._length)), (rows, rounded), (rows, longest)):
            if shape[0] * shape[1] <= self._most_tokens:
                self._rows, self._length = shape
                for layer in self._slots:
                    layer.resize(keep)
                return True
        return False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and tokens of each, that there is room for now."""
        return self._rows, self._length

    def place(self, first: int, starts: Sequence[int], width: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Says where the next pass writes: `width` tokens to each row from `first` on, behind its `starts` tokens.

        Returns the positions, INT64 [rows, width], and which tokens each may see, BOOL [rows, 1, width, longest].
        """
        begins = torch.tensor(starts, device=device)
        positions = begins[:, None] + torch.arange(width, device=device)
        self._place = _Place(first, positions, max(starts), max(starts) + width)
        seen = torch.arange(self._place.end, device=device) <= positions[:, None, :, None]
        return positions, seen

    def clear(self, slot: int) -> None:
        """Zeroes a slot: a masked token still counts as zero times its value, and what a row left may be no number."""
        for layer in self._slots:
            layer.clear(slot)

    def move(self, source: int, target: int, length: int) -> None:
        """Moves `length` tokens from one slot to another."""
        for layer in self._slots:
            layer.move(source, target, length)

    def bytes_per_token(self) -> int:
        """Of one token in all layers; 0 before the first pass."""
        return sum(layer.bytes_per_token() for layer in self._slots)

    @property
    def current(self) -> "_Place":
        """Where the pass that runs writes."""
        return self._place


class _Place:
    __slots__ = ("end", "first", "positions", "rows", "start")

    def __init__(self, first: int, positions: Tensor, start: int = 0, end: int = 0) -> None:
        self.first = first
        self.positions = positions
        self.start = start
        self.end = end
        self.rows = torch.arange(first, first + len(positions), device=positions.device)[:, None]


class _SlotLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values, [rows, heads, tokens, size]."""

    is_sliding = False

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cache = cache
        self._buffers: list[Tensor] = []

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self._buffers = [_buffer(states, *self._cache.shape) for states in (key_states, value_states)]
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Writes the new tokens of the current place; returns all that its rows hold."""
        if not self._buffers:
            self.lazy_initialization(key_states, value_states)
        keys, values = self._buffers
        place = self._cache.current
        keys[place.rows, :, place.positions] = key_states.transpose(1, 2)
        values[place.rows, :, place.positions] = value_states.transpose(1, 2)
        rows = slice(place.first, place.first + len(place.positions))
        return keys[rows, :, : place.end], values[rows, :, : place.end]

    def resize(self, keep: tuple[int, int]) -> None:
        rows, tokens = keep
        for index, old in enumerate(self._buffers):
            self._buffers[index] = _buffer(old, *self._cache.shape)
            self._buffers[index][:rows, :, :tokens] = old[:rows, :, :tokens]

    def clear(self, slot: int) -> None:
        for buffer in self._buffers:
            buffer[slot].zero_()

    def move(self, source: int, target: int, length: int) -> None:
        for buffer in self._buffers:
            buffer[target, :, :length] = buffer[source, :, :length]

    def bytes_per_token(self) -> int:
        return sum(buffer.shape[1] * buffer.shape[3] * buffer.element_size() for buffer in self._buffers)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """For models that make a mask themselves: all tokens, from the first on."""
        return self._cache.current.end, 0

    def get_seq_length(self) -> int:
        """Tokens that the longest row held before this pass."""
        return self._cache.current.start

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1

    def get_max_cache_shape(self) -> int:
        """As `get_max_length`, by its name before transformers 5.10."""
        return -1


def _buffer(like: Tensor, rows: int, tokens: int) -> Tensor:
    return like.new_zeros(rows, like.shape[1], tokens, like.shape[3])
