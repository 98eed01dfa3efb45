"""Asking one replica, and learning from what becomes of it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.errors import RetryLaterError
from service.routing.served import Served
from service.types import InferRequest, InferResponse, Responses

Answer = TypeVar("Answer")

PRESSED = 1.0
"""Seconds after a replica refused somebody, in which its prediction is asked for before a request is tokenised."""
PATIENT = 1.0
"""Seconds that a request must have waited for a missed deadline to count: a caller in a hurry makes nobody ill."""
ENDLESS = float("inf")
"""Of generated text: places may be taken for minutes by others, and nothing is wrong."""


async def infer_by(served: Served, request: InferRequest) -> InferResponse:
    """Checks a request and has it answered; raises `BatchyardError`."""
    return await served.replica.infer(await served.intake.check(request))


async def stream_by(served: Served, request: InferRequest) -> Responses:
    """Checks a request and has it taken; raises `BatchyardError`, as does reading the answers."""
    return await served.replica.stream(await served.intake.check(request))


async def watched(
    served: Served, work: Awaitable[Answer], clock: Callable[[], float], patience: float = PATIENT
) -> Answer:
    """Waits for `work` of a replica; its breaker hears how it ends.

    `patience`: seconds that a request must have waited for its being late to count.
    """
    breaker, start = served.breaker, clock()
    probe = breaker.until > 0 and breaker.admit(start)
    try:
        answer = await work
    except BaseException as error:
        now = clock()
        if isinstance(error, RetryLaterError):
            served.pressed_until = now + PRESSED
        breaker.heard(error, probe, now, now - start >= patience)
        raise
    breaker.succeeded()
    return answer
