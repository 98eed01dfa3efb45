"""What is counted for one version of one model."""

from collections.abc import Callable

from service.telemetry.histogram import Histogram
from service.telemetry.tally import Tally

_MILLISECONDS = (0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
SECONDS = tuple(bound / 1000 for bound in _MILLISECONDS)
SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
TOKENS = (16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192, 16384)
RATIOS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class Series:
    """Counters and histograms of one model version. Times in seconds."""

    __slots__ = (
        "_past",
        "engine",
        "failures",
        "padding",
        "padding_tokens",
        "pending",
        "queue",
        "request",
        "running",
        "sequences",
        "size",
        "tally",
        "tokens",
    )

    def __init__(self) -> None:
        self.request = Histogram(SECONDS)
        """End to end, answered requests only."""
        self.queue = Histogram(SECONDS)
        self.engine = Histogram(SECONDS)
        self.size = Histogram(SIZES)
        self.tokens = Histogram(TOKENS)
        self.padding = Histogram(RATIOS)
        self.failures: dict[str, int] = {}
        self.padding_tokens = 0
        self.tally = Tally()
        self._past = Tally()
        self.pending: Callable[[], int] | None = None
        self.running: Callable[[], int] | None = None
        self.sequences: Callable[[], tuple[int, int]] | None = None
        """Those that have a slot, and those that wait for one."""

    @property
    def answered(self) -> int:
        return int(self.request.buckets()[-1][1])

    def begin(self) -> None:
        """Its statistics begin anew; what was counted `ever` goes on."""
        self._past.add(self.tally)
        self.tally = Tally()

    def ever(self, count_of: Callable[[Tally], float]) -> float:
        """What was counted since the process began."""
        return count_of(self._past) + count_of(self.tally)
