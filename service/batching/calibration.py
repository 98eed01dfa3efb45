"""How far answers come from what the cost model says, learnt from every answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from service.batching.ticket import BACKLOG, BUSY, IDLE, LOADS, Outlook, Waiting
from service.types import NO_PREDICTION, Prediction

LEVEL = 0.965
"""The share of answers that the p95 is steered to: of those that one accident makes late only a part is counted, so
that some 0.95 of all come within it. Simulated, at 0.1 to 3 times the peak and with heavy tails: 0.90 to 0.97."""
_STEP = 0.05
"""What a batch of late answers adds to the log of the p95. It then follows a machine that becomes twice as slow within
15 batches, and stays within a few percent of the right place on a steady one."""
_FIRST_STEP = 0.5
"""The step of the very first answers, falling as 1/n to `_STEP` (H. Robbins and S. Monro, "A Stochastic Approximation
Method", 1951): the start is a guess."""
_START = math.log(1.5)
"""The p95 before anything was answered, over the mean: about what a shared machine needs. Too low, some of the first
answers are late; too high, the first tight deadlines are refused; either is mended within a few batches."""
_JUMP = math.log(1.5)
"""The most that one batch raises the p95: many that were late together are one accident."""
_MOST = math.log(20)
"""The p95 is at most this many means: what is later than that was no matter of spread."""
_MEMORY = 0.05
"""The weight of the newest batch in what is learnt of means: some 20 batches."""
_RELIEF = 0.25
"""Its weight where it took less than half of the mean: no accident makes a machine faster, so what held it is over."""
_HALF = math.log(2)
_LAST = 1000
"""Answers that the share of those within counts, about: enough that one batch hardly moves it."""
_FORGET = 5.0
"""Seconds after which what was learnt under one load counts less than what was since learnt under another."""
_ACCIDENT = 0.1
"""Seconds after which those that are given up are no longer the same accident, though no batch came."""
_SHORTEST = 1e-6
"""Seconds: no answer takes less, whatever the clock says."""


@dataclass(slots=True)
class Spread:
    """The ratio of actual to expected seconds under one load, in logs: its mean, and the quantile above it at `LEVEL`.

    The quantile is tracked by the stochastic gradient of the pinball loss: up by a step for a late answer, down by
    a little for one that was not, so that over any long run the share of answers within is `LEVEL`, whatever the
    distribution and however it drifts (I. Gibbs and E. Candes, "Adaptive Conformal Inference Under Distribution
    Shift", arXiv:2106.00984). Answers of one batch share their fate: the step is that of a batch, whatever its size.
    """

    mean: float = 0.0
    quantile: float = _START
    answers: float = 1.0
    batches: int = 0
    seen: float = float("-inf")
    missed: int = 0
    missed_since: float = float("-inf")
    mean_factor: float = 1.0
    quantile_factor: float = math.exp(_START)

    def batch(self, ratios: Sequence[float], late: int, now: float) -> None:
        """Learns from answers that came together, `late` of them after their p95."""
        self.seen, self.missed = now, 0
        self.batches += 1
        self.answers += _MEMORY * (len(ratios) - self.answers)
        self._step(late, len(ratios) - late)
        self._move(sum(ratios) / len(ratios) - self.mean)

    def late(self, ratio: float, now: float) -> None:
        """Learns from one that was given up after its p95, and would have had at least this ratio.

        Until the next batch at most a batch's worth of them counts: a stall that many wait for is one accident.
        """
        self.seen = now
        if now > self.missed_since + _ACCIDENT:
            self.missed, self.missed_since = 0, now
        self.missed += 1
        if self.missed <= self.answers:
            self._step(1, 0)
            self._move(max(0.0, ratio - self.mean) / self.answers)

    def _step(self, late: int, within: int) -> None:
        step = max(_STEP, _FIRST_STEP / (1 + self.batches)) / self.answers
        moved = min(_JUMP, step * (LEVEL * late - (1 - LEVEL) * within))
        self.quantile = min(_MOST, max(0.0, self.quantile + moved))
        self.quantile_factor = math.exp(self.quantile)

    def _move(self, surprise: float) -> None:
        self.mean += (_RELIEF if surprise < -_HALF else _MEMORY) * min(_HALF, surprise)
        self.mean_factor = math.exp(self.mean)


@dataclass(slots=True)
class Calibration:
    """Makes predictions of outlooks, and learns from how they came out. Lives on the event loop.

    `predictions`: requests that were predicted and have come to their end; `within`: those answered within their p95.
    `share`: of the last thousand or so.
    """

    predictions: int = 0
    within: int = 0
    share: float = 0.95
    _spreads: list[Spread] = field(default_factory=lambda: [Spread() for _ in range(LOADS)])

    def predict(self, outlook: Outlook, now: float) -> Prediction:
        """What to expect; all 0 where the cost model knows nothing."""
        if not outlook.seconds:
            return NO_PREDICTION
        spread = self._spreads[outlook.load]
        if now > spread.seen + _FORGET:
            self._renew(spread)
        mean = spread.mean_factor
        seconds = outlook.seconds * mean
        return Prediction(outlook.queue * mean, seconds, seconds * spread.quantile_factor)

    def _renew(self, spread: Spread) -> None:
        """What was not seen for long is taken to be as what was seen last: else it might be refused for good."""
        source = max((self._spreads[load] for load in (IDLE, BUSY, BACKLOG)), key=attrgetter("seen"))
        if source.seen > spread.seen:
            spread.mean, spread.quantile, spread.seen = source.mean, source.quantile, source.seen
            spread.mean_factor, spread.quantile_factor = source.mean_factor, source.quantile_factor

    def answered(self, together: Sequence[Waiting], now: float) -> None:
        """Learns from the requests that a batch answered."""
        by_load: list[list[float]] = [[] for _ in range(LOADS)]
        late = [0] * LOADS
        for waiting in together:
            if waiting.outlook:
                _, seconds, load = waiting.outlook
                by_load[load].append(math.log(max(waiting.actual, _SHORTEST) / seconds))
                late[load] += waiting.actual > waiting.predicted.p95
        for spread, ratios, missed in zip(self._spreads, by_load, late, strict=True):
            if ratios:
                self._count(len(ratios) - missed, missed)
                spread.batch(ratios, missed, now)

    def given_up(self, waiting: Waiting, now: float) -> None:
        """Learns from a request that has no answer until `now`, and gets none: only after its p95 is that evidence."""
        passed = now - waiting.arrival
        if waiting.outlook and passed >= waiting.predicted.p95:
            _, seconds, load = waiting.outlook
            self._count(0, 1)
            self._spreads[load].late(math.log(passed / seconds), now)

    def _count(self, within: int, missed: int) -> None:
        made = within + missed
        self.predictions += made
        self.within += within
        self.share += min(1.0, made / _LAST) * (within / made - self.share)
