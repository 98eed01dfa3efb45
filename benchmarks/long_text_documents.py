"""Documents of 10,000 tokens: the bank's messages, the project's own texts, and both."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.texts import BANKING77
from engines.text import Tokenizer

TOKENS = 10_000
_ROOT = Path(__file__).parents[1]
_SEEDS = (1, 2)


@dataclass(frozen=True, slots=True)
class Document:
    """A long text and what it is made of."""

    name: str
    text: str


def documents(tokenizer: Tokenizer) -> Iterator[Document]:
    """Each of `TOKENS` tokens, or all that there is. Without Banking77 only the project's own."""
    own = [_ROOT / name for name in ("README.md", "ARCHITECTURE.md", "DECISIONS.md")]
    own += sorted((_ROOT / "docs").glob("*.md"))
    lines = [path.read_text(encoding="utf-8").splitlines() for path in own]
    yield Document("own docs", _joined([line for file in lines for line in file], tokenizer, TOKENS))
    yield Document("own docs, last first", _joined([line for file in lines[::-1] for line in file], tokenizer, TOKENS))
    if not BANKING77.exists():
        return
    messages = _messages()
    for seed in _SEEDS:
        shuffled = Random(seed).sample(messages, len(messages))  # noqa: S311
        yield Document(f"bank messages, seed {seed}", _joined([text for text, _ in shuffled], tokenizer, TOKENS))
    by_intent = [text for text, _ in sorted(messages, key=lambda message: message[1])]
    yield Document("bank messages by intent", _joined(by_intent, tokenizer, TOKENS))
    halves = [_joined(half, tokenizer, TOKENS // 2) for half in (by_intent, [line for file in lines for line in file])]
    yield Document("half bank, half docs", "\n".join(halves))


def _messages() -> list[tuple[str, str]]:
    """Text and intent."""
    with BANKING77.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def _joined(lines: Sequence[str], tokenizer: Tokenizer, tokens: int) -> str:
    """The first lines, as many as `tokens` hold."""
    left, taken = tokens, []
    for line, pieces in zip(lines, tokenizer.pieces(lines, tokens), strict=True):
        left -= len(pieces.ids)
        if left < 0:
            break
        taken.append(line)
    return "\n".join(taken)
