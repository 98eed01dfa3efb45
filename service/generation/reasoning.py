"""Reasoning that a model writes before its answer, between two tags, as DeepSeek R1 does."""

from collections.abc import Callable
from typing import Literal

from engines.language import THINK, THINK_END
from service.generation.stops import begun

Reasoning = Literal["none", "expected", "begun"]
"""Of an answer: it has none; it may begin with a tag; it begins within, as the prompt ends with the tag."""


class ReasoningSplitter:
    """Text to pairs of reasoning and answer. The tags are left out, and the blanks around them.

    `inside`: the reasoning has begun and is not over.
    """

    __slots__ = ("_held", "_state", "inside")

    def __init__(self, reasoning: Reasoning) -> None:
        self.inside = reasoning == "begun"
        self._held = ""
        self._state: Callable[[str], tuple[str, str]] = self._before

    @property
    def held(self) -> int:
        """Characters held back."""
        return len(self._held)

    def push(self, text: str) -> tuple[str, str]:
        """What is sure to be reasoning, and what is sure to be the answer."""
        if self._held:
            text, self._held = self._held + text, ""
        return self._state(text)

    def flush(self) -> tuple[str, str]:
        """What was held back."""
        held, self._held = self._held, ""
        return (held, "") if self.inside else ("", held)

    def _before(self, text: str) -> tuple[str, str]:
        """Until the first tag, or the first text that is none. A tag may repeat the one that the prompt ends with."""
        start = text.lstrip()
        if start.startswith(THINK):
            self.inside = True
            start = start[len(THINK) :]
        elif THINK.startswith(start):
            self._held = text
            return "", ""
        elif not self.inside:
            self._state = self._after
            return "", text
        self._state = self._opening
        return self._opening(start)

    def _opening(self, text: str) -> tuple[str, str]:
        start = text.lstrip()
        if not start:
            return "", ""
        self._state = self._within
        return self._within(start)

    def _within(self, text: str) -> tuple[str, str]:
        end = text.find(THINK_END)
        if end < 0:
            thought = text[: len(text) - begun(text, THINK_END)].rstrip()
            self._held = text[len(thought) :]
            return thought, ""
        self.inside = False
        self._state = self._between
        return text[:end].rstrip(), self._between(text[end + len(THINK_END) :])[1]

    def _between(self, text: str) -> tuple[str, str]:
        start = text.lstrip()
        if start:
            self._state = self._after
        return "", start

    def _after(self, text: str) -> tuple[str, str]:
        return "", text
