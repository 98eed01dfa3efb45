"""A text as tokens that may be cut into windows: how good a place each token is to begin one at."""

from dataclasses import dataclass

import numpy as np
import tokenizers
from numpy.typing import NDArray

TokenIds = NDArray[np.int64]
_Numbers = NDArray[np.int64]

INSIDE, PIECE, WORD, SENTENCE = range(4)
"""Before a token: nothing ends; a piece ends, such as punctuation, where no blank is; a word ends; a sentence ends."""

_BLANKS = np.array([ord(c) for c in map(chr, range(0x3001)) if c.isspace()], np.uint32)
_STOPS = np.array([ord(c) for c in ".!?…"], np.uint32)
"""They end a sentence before a blank only: 3.5, e.g."""
_FULL_STOPS = np.array([ord(c) for c in "\n。！？"], np.uint32)
_LINE = ord("\n")


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text's token ids INT64 [tokens], none of them special, and for each an INT8 of `breaks`: what ends before it.

    `before`, `after`: the special tokens that belong around every window.
    """

    ids: TokenIds
    breaks: NDArray[np.int8]
    before: TokenIds
    after: TokenIds

    @property
    def special(self) -> int:
        """How many special tokens a window has."""
        return len(self.before) + len(self.after)

    def window(self, start: int, end: int) -> TokenIds:
        """The tokens from `start` to below `end`, with the special ones around them."""
        return np.concatenate((self.before, self.ids[start:end], self.after))


def pieces_of(text: str, tokenizer: tokenizers.Tokenizer) -> Pieces:
    """Tokenises without holding Python's lock, so give long texts to a thread."""
    (encoding,) = tokenizer.encode_batch([text], add_special_tokens=False)
    ids = np.array(encoding.ids, np.int64)
    offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
    words = np.array(encoding.word_ids, np.float64)  # None becomes NaN, which differs from everything
    before, after = _frame(text, offsets[:, 1], tokenizer)
    return Pieces(ids, _breaks(text, offsets[:, 0], offsets[:, 1], words), before, after)


def _frame(text: str, ends: _Numbers, tokenizer: tokenizers.Tokenizer) -> tuple[TokenIds, TokenIds]:
    """What the tokenizer's post-processor puts before and after the text's first token."""
    sample = tokenizer.encode(text[: next((end for end in ends.tolist() if end), 0)])
    ids = np.array(sample.ids, np.int64)
    ordinary = np.flatnonzero(np.array(sample.special_tokens_mask) == 0)
    if not len(ordinary):
        return ids, ids[:0]
    return ids[: ordinary[0]], ids[ordinary[-1] + 1 :]


def _breaks(text: str, starts: _Numbers, ends: _Numbers, words: NDArray[np.float64]) -> NDArray[np.int8]:
    if not len(starts):
        return np.zeros(0, np.int8)
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    blank = np.isin(characters, _BLANKS)
    # A byte-level tokenizer's token begins with the blank before its word, others' after it.
    after_blank = blank[np.maximum(starts - 1, 0)] | blank[np.minimum(starts, len(blank) - 1)]
    last = characters[np.maximum(np.roll(ends, 1) - 1, 0)]
    lines = np.concatenate(([0], np.cumsum(characters == _LINE)))
    new_line = lines[np.minimum(starts + 1, len(characters))] > lines[np.maximum(np.roll(ends, 1) - 1, 0)]
    found = np.where(np.roll(words, 1) != words, PIECE, INSIDE)
    found = np.where(after_blank, WORD, found)
    found = np.where((after_blank & (np.isin(last, _STOPS) | new_line)) | np.isin(last, _FULL_STOPS), SENTENCE, found)
    found[0] = SENTENCE
    return found.astype(np.int8)
