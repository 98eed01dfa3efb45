"""Triton's reasons for the failure of a request: nv_inference_request_failure."""

from asyncio import CancelledError

from service.errors import (
    BatchyardError,
    DeadlineExceededError,
    EngineFailedError,
    ModelUnavailableError,
    RetryLaterError,
    SlowReaderError,
)
from service.telemetry.metrics import Outcome


def outcome_of(error: BaseException) -> Outcome:
    """The reason that goes with an error."""
    match error:
        case BatchyardError(executed=True):
            return "BACKEND"
        case CancelledError() | SlowReaderError():
            return "CANCELED"
        case RetryLaterError() | DeadlineExceededError() | ModelUnavailableError():
            return "REJECTED"
        case EngineFailedError():
            return "BACKEND"
        case _:
            return "OTHER"
