"""Text to token ids and back, with a Hugging Face `tokenizer.json`."""

import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from engines.errors import InvalidInputError, ModelLoadError
from engines.text_pieces import Pieces, pieces_of

TokenIds = NDArray[np.int64]

LONG_TEXT = 4096
"""Characters from which a text takes a millisecond or more: it is tokenised without holding Python's lock."""
_CHARACTERS_PER_TOKEN = 64
"""Far above what any language has on average: a bound of tokens is one of characters, known before any work."""
_BLANK = re.compile(r"\s")
_WORD_END = re.compile(r"[0-9A-Za-z][ \t\n]")


class TextTooLongError(InvalidInputError):
    """A text, or a row of token ids, is longer than the model's window."""


class Tokenizer:
    """Tokenises texts for a model with a window of `max_tokens`, special tokens included. Threads may share it.

    `truncate`: longer texts are cut, else refused. Takes `tokenizer` over: its truncation and padding are reset.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, max_tokens: int, *, truncate: bool = False) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if truncate:
            tokenizer.enable_truncation(max_tokens)
        self.max_tokens = max_tokens
        self._truncate = truncate
        self.vocabulary = tokenizer.get_vocab_size()
        self._tokenizer = tokenizer
        self._splits_words = _splits_words(tokenizer)

    @classmethod
    def from_file(cls, path: Path, max_tokens: int, *, truncate: bool = False) -> "Tokenizer":
        """Reads a `tokenizer.json`; raises `ModelLoadError`.

        Unless the environment sets TOKENIZERS_PARALLELISM, the library starts no threads: the cores are the engines'.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise ModelLoadError(
                f"{path.name} is not a tokenizer that can be read: {' '.join(str(error).split())}"
            ) from error
        least = tokenizer.num_special_tokens_to_add(is_pair=False) + 1
        if max_tokens < least:
            raise ModelLoadError(f"{path.name}: a window of {max_tokens} tokens is too small; use at least {least}")
        return cls(tokenizer, max_tokens, truncate=truncate)

    def encode(self, texts: Sequence[bytes | str]) -> list[TokenIds]:
        """Token ids of each text, INT64 [tokens], with special tokens, without padding.

        Raises `InvalidInputError` for a text that is not UTF-8 or, unless cut, is longer than the window
        (`TextTooLongError`). Texts of `LONG_TEXT` characters and more release Python's lock while they are tokenised,
        so give them to a thread.
        """
        return [self._encode(_decoded(text, index)) for index, text in enumerate(texts)]

    def pieces(self, texts: Sequence[bytes | str], most: int) -> list[Pieces]:
        """The tokens of each text, however long, and where it may be cut. Blocks; releases Python's lock.

        Raises `InvalidInputError` for a text that is not UTF-8 or has more than `most` tokens.
        """
        return [self._pieces(_decoded(text, index), index, most) for index, text in enumerate(texts)]

    def _pieces(self, text: str, index: int, most: int) -> Pieces:
        many_words = self._splits_words and _end_of_word(text, most + 1) is not None
        if not many_words and len(text) <= most * _CHARACTERS_PER_TOKEN:
            found = pieces_of(text, self._tokenizer)
            if len(found.ids) <= most:
                return found
        raise InvalidInputError(
            f"text {index} has more than {most} tokens or {most * _CHARACTERS_PER_TOKEN} characters; send it in parts"
        )

    def check(self, rows: Sequence[TokenIds]) -> Sequence[TokenIds]:
        """Token ids that a caller made itself, INT64 [tokens] each, cut to the window where that is allowed.

        Raises `InvalidInputError` for an empty row, an id outside the vocabulary, and a row longer than the window.
        """
        return [self._checked(row, index) for index, row in enumerate(rows)]

    def _checked(self, row: TokenIds, index: int) -> TokenIds:
        if row.size == 0:
            raise InvalidInputError(f"row {index} of token ids is empty; send at least one token")
        if row.size > self.max_tokens and not self._truncate:
            raise self._too_long(str(row.size))
        low, high = int(row.min()), int(row.max())
        if low < 0 or high >= self.vocabulary:
            wrong = low if low < 0 else high
            raise InvalidInputError(f"row {index} has token id {wrong}; the vocabulary has 0 to {self.vocabulary - 1}")
        return row[: self.max_tokens]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        return self._tokenizer.decode(ids)

    def _encode(self, text: str) -> TokenIds:
        if len(text) < LONG_TEXT:
            ids = self._tokenizer.encode(text).ids
        else:
            (encoding,) = self._tokenizer.encode_batch_fast([self._shortened(text)])
            ids = encoding.ids
        if len(ids) > self.max_tokens:
            raise self._too_long(str(len(ids)))
        return np.array(ids, np.int64)

    def _shortened(self, text: str) -> str:
        """The part of a long text that decides its first `max_tokens` tokens; refuses, where that is sure, without."""
        end = _end_of_word(text, self.max_tokens + 1) if self._splits_words else None
        if end is not None and not self._truncate:
            raise self._too_long(f"more than {self.max_tokens}")
        return text[:end]

    def _too_long(self, tokens: str) -> TextTooLongError:
        return TextTooLongError(
            f"text of {tokens} tokens is longer than the model's window of {self.max_tokens}; shorten it, or split it"
        )


def _end_of_word(text: str, number: int) -> int | None:
    """Where the word of this number, counted from 1, ends; None where there are fewer words."""
    match = next(islice(_WORD_END.finditer(text), number - 1, None), None)
    return match.end() if match else None


def _decoded(text: bytes | str, index: int) -> str:
    try:
        if isinstance(text, bytes):
            return text.decode()
        text.encode()
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"text {index} is not valid UTF-8 at byte {error.start} (0x{error.object[error.start]:02x}); send UTF-8"
        ) from None
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"text {index} has a lone surrogate at character {error.start}; send whole Unicode characters"
        ) from None
    return text


def _splits_words(tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether every word between blanks that holds an ASCII letter or digit gives at least one token, as BERT's do."""
    return (
        isinstance(tokenizer.normalizer, BertNormalizer | None)
        and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
        and isinstance(tokenizer.model, WordPiece)
        and not any(_BLANK.search(token.content) for token in tokenizer.get_added_tokens_decoder().values())
    )
