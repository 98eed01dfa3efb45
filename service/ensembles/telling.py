"""What callers of an ensemble are told of its steps: times along the longest way, and how they were routed."""

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

from service.types import DIRECT, NO_PREDICTION, InferResponse, Prediction, Routed, Timing


def longest(timings: Iterable[Timing | None]) -> Timing | None:
    """Of several ways that were gone at once, the one that took longest; None where no step was on any."""
    known = (timing for timing in timings if timing is not None)
    return max(known, key=lambda timing: max(timing.actual, timing.queue + timing.compute), default=None)


def timing_of(ways: Iterable[Timing | None], steps: Iterable[InferResponse]) -> Timing:
    """Of an answer: the times of the longest way to it, and what all steps cost."""
    timing = longest(ways) or Timing()
    return replace(timing, engine_seconds=sum(step.timing.engine_seconds for step in steps))


def slowest(predictions: Iterable[Prediction]) -> Prediction:
    """Of several ways to be gone at once, the one that is predicted to take longest."""
    return max(predictions, key=lambda prediction: prediction.p95, default=NO_PREDICTION)


def in_turn(first: Prediction, then: Prediction) -> Prediction:
    """Both late at once is rare, so that the sum of both p95 is on the safe side."""
    return Prediction(first.queue + then.queue, first.seconds + then.seconds, first.p95 + then.p95)


def added(total: Timing | None, step: Timing) -> Timing:
    """The times of a way and of the step after it."""
    if total is None:
        return step
    return Timing(
        total.queue + step.queue,
        total.compute + step.compute,
        max(total.batch_size, step.batch_size),
        max(total.batch_tokens, step.batch_tokens),
        max(total.batch_slots, step.batch_slots),
        in_turn(total.predicted, step.predicted),
        total.actual + step.actual,
        total.input + step.input,
        total.output + step.output,
    )


def routed_by(responses: Iterable[InferResponse]) -> Routed:
    """What callers are told of the routes of all steps."""
    return reduce(_both, (response.routed for response in responses), DIRECT)


def _both(first: Routed, then: Routed) -> Routed:
    """What callers are told of two steps: all of it that is not the business of one route alone."""
    if then is DIRECT:
        return first
    return Routed(
        candidates=first.candidates + then.candidates,
        tries=first.tries + then.tries,
        step_down="+".join(filter(None, (first.step_down, then.step_down))),
        hedged=first.hedged or then.hedged,
    )
