"""How fast a generator is, learnt from its steps, and what that predicts."""

from collections.abc import Sequence

_WEIGHT = 0.1
"""Of a new observation in the running means."""


class Pace:
    """Running means of seconds a step, seconds a prompt token, and tokens an answer; all 0 until one was seen."""

    def __init__(self) -> None:
        self._step = 0.0
        self._prompt_token = 0.0
        self._length = 0.0

    def step_done(self, seconds: float) -> None:
        """A step took so long, with no new prompt in it."""
        self._step = _mean(self._step, seconds)

    def first_token(self, seconds: float, prompt_tokens: int) -> None:
        """A prompt's first token came so long after the engine took it."""
        self._prompt_token = _mean(self._prompt_token, seconds / max(1, prompt_tokens))

    def answer_done(self, tokens: int) -> None:
        """An answer ended by itself after so many tokens."""
        self._length = _mean(self._length, tokens)

    def until_first(self, prompt_tokens: int) -> float:
        """Seconds from being taken to the first token."""
        return self._prompt_token * prompt_tokens + self._step

    def until_free(self, left: Sequence[int], generated: Sequence[int], ahead: int) -> float:
        """Seconds until one more can be taken, behind `ahead` others that wait.

        `left`: tokens that each running answer may still have; `generated`: tokens that it has. Each is expected to end
        at the mean length, or, beyond that, halfway to its limit.
        """
        if not left:
            return 0.0
        expected = sorted(self._expected(most, have) for most, have in zip(left, generated, strict=True))
        rounds, place = divmod(ahead, len(expected))
        return self._step * (expected[place] + rounds * max(1.0, self._length))

    def _expected(self, left: int, generated: int) -> float:
        usual = self._length - generated
        return min(left, usual) if usual > 0 else left / 2


def _mean(old: float, new: float) -> float:
    return new if not old else old + _WEIGHT * (new - old)
