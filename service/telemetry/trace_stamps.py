"""What is known of a request when it is over, as Triton's timestamps."""

from dataclasses import replace

from service.telemetry.trace_file import Trace
from service.types import InferRequest, InferResponse, Timing


def trace_of(
    number: int, parent: int, request: InferRequest, response: InferResponse | None, start: float, end: float
) -> Trace:
    """The trace of a request that began and ended then, in seconds; `response`: None where it has none."""
    if response is None:
        stamps = (("REQUEST_START", round(start * 1e9)), ("REQUEST_END", round(end * 1e9)))
        return Trace(number, parent, request.model, -1, request.id, stamps)
    version = int(response.version) if response.version.isdecimal() else -1
    return Trace(number, parent, response.model, version, request.id, stamps_of(response.timing, start, end))


def without_compute(trace: Trace) -> Trace:
    """An ensemble computes nothing itself: its steps have that in traces of their own."""
    return replace(trace, stamps=tuple(stamp for stamp in trace.stamps if not stamp[0].startswith("COMPUTE_")))


def stamps_of(timing: Timing, start: float, end: float) -> tuple[tuple[str, int], ...]:
    """When each part of an answered request began or ended; of one in several batches, by its longest waits."""
    queued = max(start, end - timing.actual) if timing.actual else start
    computing = queued + timing.queue
    laid_out = computing + timing.input
    computed = max(laid_out, computing + timing.compute - timing.output)
    named = {
        "REQUEST_START": start,
        "QUEUE_START": queued,
        "COMPUTE_START": computing,
        "COMPUTE_INPUT_END": laid_out,
        "COMPUTE_OUTPUT_START": computed,
        "COMPUTE_END": computing + timing.compute,
        "REQUEST_END": end,
    }
    return tuple((name, round(min(seconds, end) * 1e9)) for name, seconds in named.items())
