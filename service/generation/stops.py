"""Stop strings, wherever the borders of tokens lie; holds back only what may be the start of one."""

from collections.abc import Sequence


class StopFinder:
    """Passes text on until one of `stops` is complete in it; the first to be complete wins, the longest among equals.

    `stopped`: one was met, and what follows is dropped. `dropped`: characters of the last text that were cut off.
    """

    __slots__ = ("_firsts", "_held", "_reach", "_stops", "dropped", "stopped")

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self.dropped = 0
        self._stops = stops
        self._firsts = frozenset(stop[0] for stop in stops)
        self._reach = max(map(len, stops)) - 1
        self._held = ""

    @property
    def held(self) -> int:
        """Characters held back."""
        return len(self._held)

    def push(self, text: str) -> str:
        """What of the text so far is sure to lie before any stop string."""
        if not self._held and self._firsts.isdisjoint(text):
            return text
        text = self._held + text
        matches = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        keep = min(matches)[1] if matches else self._start_of_held(text)
        self._held = "" if matches else text[keep:]
        self.stopped = bool(matches)
        self.dropped = len(text) - keep if matches else 0
        return text[:keep]

    def flush(self) -> str:
        """What was held back: it was no stop string after all."""
        held, self._held = self._held, ""
        return held

    def _start_of_held(self, text: str) -> int:
        for at in range(max(0, len(text) - self._reach), len(text)):
            if text[at] in self._firsts and any(stop.startswith(text[at:]) for stop in self._stops):
                return at
        return len(text)


def begun(text: str, tag: str) -> int:
    """Characters at the end of `text` that may be the start of `tag`."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0
