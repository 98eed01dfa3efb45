"""Logprobs of tokens, told together with the text that the tokens stand for."""

from collections import deque
from dataclasses import dataclass

from engines.generation import TokenLogprob
from engines.language import Language
from engines.text_generator import ChosenToken


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A token whose text runs from `start` to `end`, characters of all text so far."""

    logprob: TokenLogprob
    start: int
    end: int


class LogprobQueue:
    """Holds tokens until their text is decided. `top`: how many of the likeliest tokens are told with each."""

    __slots__ = ("_language", "_ready", "_size", "_top", "_waiting")

    def __init__(self, language: Language, top: int) -> None:
        self._language = language
        self._top = top
        self._size = 0
        self._waiting: deque[_Waiting] = deque()
        self._ready: list[TokenLogprob] = []

    def add(self, token: ChosenToken, characters: int) -> None:
        """A token that brought so much text; one that brought none (yet) waits for the next that does."""
        top = tuple(self._logprob(number, logprob) for number, logprob in token.top[: self._top])
        start = self._size
        self._size += characters
        end = max(self._size, start + 1)
        self._waiting.append(_Waiting(self._logprob(token.id, token.logprob, top), start, end))

    def release(self, held: int) -> None:
        """All text is decided but the last `held` characters."""
        decided = self._size - held
        while self._waiting and self._waiting[0].end <= decided:
            self._ready.append(self._waiting.popleft().logprob)

    def cut(self, dropped: int) -> None:
        """The last `dropped` characters are never shown: tokens that are partly shown are told, others are not."""
        cut = self._size - dropped
        self._ready += [waiting.logprob for waiting in self._waiting if waiting.start < cut]
        self._waiting.clear()

    def end(self) -> None:
        """No text follows: all tokens are told."""
        self._ready += [waiting.logprob for waiting in self._waiting]
        self._waiting.clear()

    def take(self) -> tuple[TokenLogprob, ...]:
        """Those that are ready, once."""
        ready, self._ready = self._ready, []
        return tuple(ready)

    def _logprob(self, token: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        language = self._language
        return TokenLogprob(language.token_text(token), language.token_bytes(token), logprob, top)
