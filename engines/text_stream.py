"""Tokens back to text, through the bytes that each stands for: exact, whole characters only, under 1 us a token.

The stream of the `tokenizers` library fails on bytes that are no UTF-8 (1 in 40 random answers of a SentencePiece
vocabulary) and cannot be flushed.
"""

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping, Sequence

import tokenizers

from engines.errors import ModelLoadError

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_BLANK = "▁"  # a space in SentencePiece vocabularies
_BYTE_LEVEL = frozenset({"ByteLevel", "Fuse"})
_PIECES = frozenset({"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"})
_Utf8 = getincrementaldecoder("utf-8")


class TextStream:
    """The text of one answer, token by token. `pieces`: bytes of each token. `skip`: spaces left out at the start."""

    __slots__ = ("_decode", "_pieces", "_skip")

    def __init__(self, pieces: Sequence[bytes], skip: int = 0) -> None:
        self._pieces = pieces
        self._skip = skip
        self._decode = _Utf8("replace").decode

    def push(self, token: int) -> str:
        """The whole characters that are complete with this token."""
        try:
            text = self._decode(self._pieces[token])
        except IndexError:  # models may have more rows than their vocabulary has tokens
            return ""
        return self._without_start(text) if self._skip and text else text

    def flush(self) -> str:
        """What is left: U+FFFD for an incomplete character."""
        return self._decode(b"", True)

    def _without_start(self, text: str) -> str:
        rest = text[: self._skip].lstrip(" ") + text[self._skip :]
        skipped = len(text) - len(rest)
        self._skip = self._skip - skipped if not rest else 0
        return rest


def token_pieces(tokenizer: tokenizers.Tokenizer) -> list[bytes]:
    """The bytes of each token by its id, b"" for ids that are none. Raises `ModelLoadError` for a foreign decoder."""
    kinds = {str(part["type"]) for part in _decoder(tokenizer)}
    added = {str(token) for token in map(_content, tokenizer.get_added_tokens_decoder().values())}
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    pieces = [b""] * (max(vocabulary.values(), default=-1) + 1)
    if kinds and kinds <= _BYTE_LEVEL:
        alphabet = byte_alphabet()
        for token, number in vocabulary.items():
            pieces[number] = token.encode() if token in added else _byte_level(token, alphabet)
    elif kinds and kinds <= _PIECES:
        for token, number in vocabulary.items():
            pieces[number] = token.encode() if token in added and not _BYTE.fullmatch(token) else _piece(token)
    else:
        raise ModelLoadError(
            f"the tokenizer's decoder ({', '.join(sorted(kinds)) or 'none'}) is not known here; known are ByteLevel, "
            f"and sequences of {', '.join(sorted(_PIECES))}: take the tokenizer.json of a causal model"
        )
    return pieces


def skipped_spaces(tokenizer: tokenizers.Tokenizer) -> int:
    """Spaces that the tokenizer leaves out at the start of a text."""
    for part in _decoder(tokenizer):
        if part["type"] == "Strip":
            return int(str(part["start"]))
        if part["type"] == "Metaspace" and part.get("prepend_scheme") != "never":
            return 1
    return 0


def byte_alphabet() -> dict[int, int]:
    """Characters of byte-level vocabularies -> bytes: printable Latin-1 is itself, the rest follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: byte for byte in printable} | {0x100 + number: byte for number, byte in enumerate(others)}


def _decoder(tokenizer: tokenizers.Tokenizer) -> Iterator[Mapping[str, object]]:
    if tokenizer.decoder is not None:
        state = json.loads(tokenizer.decoder.__getstate__())
        yield from state["decoders"] if state["type"] == "Sequence" else [state]


def _content(token: tokenizers.AddedToken) -> str:
    content: str = token.content
    return content


def _byte_level(token: str, alphabet: Mapping[int, int]) -> bytes:
    try:
        return token.translate(alphabet).encode("latin-1")
    except UnicodeEncodeError:
        return token.encode()


def _piece(token: str) -> bytes:
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace(_BLANK, " ").encode()
