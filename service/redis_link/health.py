"""Is Redis there, and does it take writes? A log line at each change, and nothing else in between."""

import logging
from collections.abc import Callable

from service.redis_link.counts import Counts

LOGGER = logging.getLogger("batchyard.redis")

FIRST_PAUSE = 0.1
"""Seconds until a Redis that was lost is tried again. Doubled each time that fails."""
LONGEST_PAUSE = 1.0
"""Seconds: one that is back is used again within this and the time of a try."""
STEADY = 1.0
"""Seconds after which one that is back counts as well: before, the pauses go on from where they were."""
WRITES_PAUSE = 1.0
"""Seconds in which nothing is stored in a Redis that refused it."""


class Health:
    """`name`: of the Redis, for people. `clock`: seconds."""

    def __init__(self, name: str, counts: Counts, clock: Callable[[], float]) -> None:
        self._name = name
        self._counts = counts
        self._clock = clock
        self._since = 0.0
        self._pause = FIRST_PAUSE
        self._said = ""
        self._paused_until = 0.0

    def opened(self) -> None:
        """It answers."""
        self._counts.up = True
        self._since = self._clock()
        self._said = ""
        LOGGER.info("redis %s answers", self._name)

    def lost(self, fault: str) -> float:
        """It does not; seconds until it should be tried again."""
        was_up, self._counts.up = self._counts.up, False
        if was_up and self._clock() - self._since >= STEADY:
            self._pause = FIRST_PAUSE
        if was_up or not self._said:
            self._said = fault
            LOGGER.warning("redis %s is away, all goes on without it: %s", self._name, fault)
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause

    @property
    def takes_writes(self) -> bool:
        """May something be stored now?"""
        return self._counts.writable or self._clock() >= self._paused_until

    def refused(self, fault: str) -> None:
        """It answers, but stores nothing."""
        self._paused_until = self._clock() + WRITES_PAUSE
        if self._counts.writable:
            self._counts.writable = False
            LOGGER.warning("redis %s stores nothing: %s", self._name, fault)

    def stored(self) -> None:
        """It took what it was given."""
        if not self._counts.writable:
            self._counts.writable = True
            LOGGER.info("redis %s stores again", self._name)
