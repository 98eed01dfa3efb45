"""Counts for Triton's statistics extension: cheap to add to, told as `ModelStatistics`."""

from dataclasses import dataclass, field, fields

from service.telemetry.statistics import BatchStatistics, Duration, ModelStatistics
from service.types import Cached, Timing


@dataclass(slots=True)
class _Size:
    """Executions of one size, and their seconds."""

    count: int = 0
    input: float = 0.0
    infer: float = 0.0
    output: float = 0.0


@dataclass(slots=True)
class Tally:
    """Of one version of one model. Times in seconds. Not locked: its owner serialises the calls.

    `last`: milliseconds since 1970.
    """

    last: int = 0
    rows: int = 0
    executions: int = 0
    success: int = 0
    success_seconds: float = 0.0
    fail: int = 0
    fail_seconds: float = 0.0
    queue: float = 0.0
    input: float = 0.0
    infer: float = 0.0
    output: float = 0.0
    hits: int = 0
    hit_seconds: float = 0.0
    misses: int = 0
    miss_seconds: float = 0.0
    coalesced: int = 0
    similar: int = 0
    sizes: dict[int, _Size] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Counts what another one counted, but not by size."""
        for one in fields(self):
            if one.name not in ("last", "sizes"):
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def looked(self, cached: Cached, seconds: float) -> None:
        """The cache looked for the answer to a request that took so long in all."""
        match cached.verdict:
            case "hit":
                self.hits += 1
                self.hit_seconds += seconds
            case "miss":
                self.misses += 1
                self.miss_seconds += cached.seconds
            case "coalesced":
                self.coalesced += 1
            case "semantic":
                self.similar += 1

    def answered(self, timing: Timing, seconds: float) -> None:
        """A request was answered, `seconds` after it came in."""
        self.success += 1
        self.success_seconds += seconds
        self.queue += timing.queue
        self.input += timing.input
        self.infer += timing.compute - timing.input - timing.output
        self.output += timing.output

    def failed(self, seconds: float) -> None:
        """A request that was well-formed failed, or was refused."""
        self.fail += 1
        self.fail_seconds += seconds

    def executed(self, size: int, answered: int, timing: Timing, now: int) -> None:
        """A batch of `size` rows ran, of which `answered` were answered; `now`: milliseconds since 1970."""
        self.last = now
        self.rows += answered
        self.executions += 1
        one = self.sizes.get(size)
        if one is None:
            one = self.sizes[size] = _Size()
        one.count += 1
        one.input += timing.input
        one.infer += timing.compute - timing.input - timing.output
        one.output += timing.output

    def told(self, name: str, version: str) -> ModelStatistics:
        """All of it, as Triton tells it: what was computed leaves out what was not."""
        computed = self.success - self.hits - self.coalesced - self.similar
        return ModelStatistics(
            name,
            version,
            self.last,
            self.rows,
            self.executions,
            success=_duration(self.success, self.success_seconds),
            fail=_duration(self.fail, self.fail_seconds),
            queue=_duration(self.success, self.queue),
            compute_input=_duration(computed, self.input),
            compute_infer=_duration(computed, self.infer),
            compute_output=_duration(computed, self.output),
            cache_hit=_duration(self.hits, self.hit_seconds),
            cache_miss=_duration(self.misses, self.miss_seconds),
            batches={size: _batch(size, one) for size, one in sorted(self.sizes.items())},
        )


def _batch(size: int, one: _Size) -> BatchStatistics:
    return BatchStatistics(
        size, _duration(one.count, one.input), _duration(one.count, one.infer), _duration(one.count, one.output)
    )


def _duration(count: int, seconds: float) -> Duration:
    return Duration(count, round(seconds * 1e9))
