"""An engine in a process of its own, so that a crash or a hang of its SDK costs the batch that ran, and no more."""

from engines import Backend
from engines.apart_messages import Done, Ran, Run, WarmedUp, WarmUp
from engines.apart_process import open_apart
from engines.apart_watchdog import OPENING_SECONDS, Watchdog, elements
from engines.base import EngineOptions, Outputs
from engines.batch import Batch


class ApartEngine:
    """Implements `Engine` over a process that opens `backend`'s engine; raises as that one does.

    `EngineLostError`: the process ended, or was ended by the watchdog. This object is closed then; open another.
    """

    def __init__(self, options: EngineOptions, backend: Backend) -> None:
        config = options.config
        self.signature = config.signature
        self._watchdog = Watchdog(config.watchdog)
        self._process, _ = open_apart(options, "engine", backend, Done)

    @property
    def process_id(self) -> int:
        """Of the process that runs the engine."""
        return self._process.id

    def warm_up(self) -> None:
        """See `Engine`; what the watchdog allows is measured here."""
        warm, _ = self._process.ask(WarmUp(), WarmedUp, OPENING_SECONDS)
        self._watchdog = Watchdog(self._watchdog.configured, warm.seconds, warm.elements)

    def run(self, batch: Batch) -> Outputs:
        """See `Engine`; waits without Python's lock."""
        self._process.check()
        _, outputs = self._process.ask(Run(batch.size), Ran, self._watchdog.allowed(elements(batch)), batch.inputs)
        return outputs

    def close(self) -> None:
        """Hangs up, which ends the process; may be called twice."""
        self._process.close()
