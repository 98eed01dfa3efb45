"""Opens an engine that was lost anew, until it works or nobody wants it any more."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from engines.base import AnyEngine
from service.cores import CoreBudget

LOGGER = logging.getLogger("batchyard.batching")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 30.0
"""Seconds after an attempt that failed, doubled each time: what went wrong once is often over at once, and what stays
wrong need not be tried more than twice a minute."""


@dataclass(frozen=True, slots=True)
class Reopening:
    """`threads`: cores that warming up takes. `wait` waits so many seconds; True: the engine is not wanted any more."""

    name: str
    cores: CoreBudget
    threads: int
    wait: Callable[[float], bool]

    def engine(self, reopen: Callable[[], AnyEngine], failed: Callable[[Exception], None]) -> AnyEngine | None:
        """The new engine, warm; None where it is not wanted any more. `failed` is told of each attempt that did not."""
        pause = FIRST_PAUSE
        while True:
            try:
                return self._warm(reopen())
            except Exception as error:
                LOGGER.exception("opening an engine of %s anew failed", self.name)
                failed(error)
            if self.wait(pause):
                return None
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _warm(self, engine: AnyEngine) -> AnyEngine:
        try:
            with self.cores.taken(self.threads):
                engine.warm_up()
        except BaseException:
            engine.close()
            raise
        return engine
