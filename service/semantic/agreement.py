"""Whether answers to questions that mean the same are the same, as far as it was checked."""

import logging
from collections import deque
from collections.abc import Callable

LOGGER = logging.getLogger("batchyard.semantic")

WINDOW = 200
"""The latest checks, that count."""


class Agreement:
    """The share of checks that agreed. Below `floor`, over at least `least` checks, it is `off` until a model is loaded
    anew: until `generation` tells another number."""

    def __init__(self, name: str, floor: float, least: int, generation: Callable[[], int]) -> None:
        self.checks = 0
        self.agreed = 0
        self._name = name
        self._floor = floor
        self._least = least
        self._generation = generation
        self._latest: deque[bool] = deque(maxlen=max(WINDOW, least))
        self._off_since: int | None = None

    @property
    def share(self) -> float:
        """Of the latest checks; 1 where there was none."""
        return sum(self._latest) / len(self._latest) if self._latest else 1.0

    @property
    def off(self) -> bool:
        """Did too few agree?"""
        if self._off_since is not None and self._off_since != self._generation():
            self._off_since = None
            self._latest.clear()
        return self._off_since is not None

    def checked(self, agreed: bool) -> None:
        """One more was checked."""
        self.checks += 1
        self.agreed += agreed
        self._latest.append(agreed)
        if not self.off and len(self._latest) >= self._least and self.share < self._floor:
            self._off_since = self._generation()
            LOGGER.warning(
                "the semantic cache of %s turned itself off: %.0f %% of %d checked answers agree, its floor is "
                "%.0f %%; raise its threshold, or load its model anew to try again",
                *(self._name, 100 * self.share, len(self._latest), 100 * self._floor),
            )
