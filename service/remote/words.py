"""What asking another server came to, as callers are told it."""

from engines.errors import (
    EngineBusyError,
    EngineError,
    EngineTimeoutError,
    EngineUnreachableError,
    InvalidInputError,
)
from service.errors import (
    BatchyardError,
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    RetryLaterError,
)

COMES_BACK = 1.0
"""Seconds after which to ask again where no server can be reached: all have been probed again by then."""


def in_our_words(error: EngineError, model: str) -> BatchyardError:
    """An engine's error in the gateway's words."""
    match error:
        case InvalidInputError():
            return InvalidRequestError(str(error))
        case EngineBusyError():
            return RetryLaterError(f"the servers of model {model!r} take no more for now: {error}", error.retry_after)
        case EngineUnreachableError():
            return ModelUnavailableError(f"model {model!r} is unavailable: {error}", COMES_BACK)
        case EngineTimeoutError():
            return DeadlineExceededError("the deadline passed before the answer of the model's server was there")
        case _:
            return EngineFailedError(f"the model's server failed on this request: {error}", retryable=error.retryable)
