"""Which requests are traced, and where their traces wait for a file."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service.telemetry.trace_file import Trace, TraceFile
from service.telemetry.trace_settings import OFF, TraceSettings

_GROUP = 64
"""Traces that are written at once where no setting says how many."""
_MOST = 1000
"""Traces that wait in memory for their numbered file."""


@dataclass(slots=True)
class Sampling:
    """What one model's, or the server's, settings have sampled. `left`: of its count, -1 no bound. `open`: sampled, and
    not collected yet. `over`: other settings count now."""

    settings: TraceSettings
    file: TraceFile
    left: int
    seen: int = 0
    open: int = 0
    over: bool = False
    traces: list[Trace] = field(default_factory=list)

    def hit(self) -> bool:
        """Is the next request to be traced?"""
        if self.settings.level == OFF or self.left == 0:
            return False
        self.seen += 1
        if self.seen % self.settings.rate:
            return False
        self.left -= self.left > 0
        self.open += 1
        return True

    def collect(self, traces: Sequence[Trace]) -> None:
        """Takes what was traced of one request and its steps."""
        self.open -= 1
        self.traces += traces
        frequency, collected = self.settings.frequency, len(self.traces)
        if self.over or (self.left == 0 and self.open == 0) or (frequency and collected >= frequency):
            self.flush()
        elif not frequency and collected >= (_GROUP if self.left < 0 else _MOST):
            self._save(numbered=False)

    def flush(self) -> None:
        """Writes what it has."""
        if self.traces:
            self._save(numbered=bool(self.settings.frequency) or self.left == 0)

    def _save(self, numbered: bool) -> None:
        traces, self.traces = self.traces, []
        self.file.save(traces, numbered)
