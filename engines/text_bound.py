"""How much text the tokens of a vocabulary can stand for: what refuses texts that are far too long without a look."""

import json
import sys
from collections.abc import Iterator, Sequence

import tokenizers
from tokenizers.models import BPE

UNBOUNDED = sys.maxsize
_SHRINK = 4
"""Times that NFC and NFD can make a text shorter, at most: U+212A, three bytes, becomes K."""
_BLANKS = b" \t\n\r\v\f"


class TextBound:
    """Bounds for the tokens of texts. `pieces`: the bytes of each token.

    `longest`: the most bytes of a text that one token stands for; `UNBOUNDED` where that is not known.
    `splits_words`: is a text always cut before a blank between two words, whatever comes later?
    """

    __slots__ = ("_lost", "longest", "splits_words")

    def __init__(self, tokenizer: tokenizers.Tokenizer, pieces: Sequence[bytes]) -> None:
        self.longest = _longest(tokenizer, pieces)
        self.splits_words = _splits_words(tokenizer)
        known = set(pieces)
        self._lost = bytes(byte for byte in range(256) if bytes([byte]) not in known)
        if any(token.lstrip or token.rstrip for token in tokenizer.get_added_tokens_decoder().values()):
            self._lost += _BLANKS

    def are_over(self, texts: Sequence[str], most: int) -> bool:
        """Has any of the texts more than `most` tokens, for sure? Within 2 ms, however long they are.

        Bytes without a token are not counted, unless they are three in four: that is no text.
        """
        bound = most * self.longest
        return sum(map(len, texts)) > 4 * bound or any(self._is_over(text, bound) for text in texts)

    def _is_over(self, text: str, bound: int) -> bool:
        if len(text) * 4 <= bound:
            return False
        return self._counted(text[: bound + bound // 8]) > bound or self._counted(text) > bound

    def _counted(self, text: str) -> int:
        """Bytes of a text that some token must stand for."""
        return len(text.encode(errors="replace").translate(None, self._lost))


def _longest(tokenizer: tokenizers.Tokenizer, pieces: Sequence[bytes]) -> int:
    if not isinstance(tokenizer.model, BPE):
        return UNBOUNDED
    longest = max(map(len, pieces))
    for kind, grows in _normalizers(tokenizer):
        if kind in {"NFC", "NFD"}:
            longest *= _SHRINK
        elif not grows:
            return UNBOUNDED
    return longest


def _splits_words(tokenizer: tokenizers.Tokenizer) -> bool:
    if tokenizer.pre_tokenizer is None or any(kind != "NFC" for kind, _ in _normalizers(tokenizer)):
        return False
    if any(" " in token.content.strip() for token in tokenizer.get_added_tokens_decoder().values()):
        return False
    pieces = tokenizer.pre_tokenizer.pre_tokenize_str("one two three")
    return [span for _, span in pieces] == [(0, 3), (3, 7), (7, 13)]


def _normalizers(tokenizer: tokenizers.Tokenizer) -> Iterator[tuple[str, bool]]:
    """The kinds of the normalizer's steps, and whether each makes no text shorter."""
    if tokenizer.normalizer is None:
        return
    state = json.loads(tokenizer.normalizer.__getstate__())
    for step in state["normalizers"] if state["type"] == "Sequence" else [state]:
        kind = str(step["type"])
        pattern = step.get("pattern", {}).get("String") if kind == "Replace" else None
        grows = pattern is not None and len(pattern.encode()) <= len(step["content"].encode())
        yield kind, grows or kind == "Prepend"
