"""An engine's error on one request, as the caller of this request is told of it."""

from engines.errors import EngineError, InvalidInputError, ModelAnsweredError
from service.errors import (
    BatchyardError,
    CallerGoneError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    NotFoundError,
    UnsupportedError,
)


def failure_of(error: EngineError) -> BatchyardError:
    """The words of a model's code are passed on as they are."""
    said = str(error)
    failure = _named(error, said).as_triton(said)
    failure.executed = True
    return failure


def _named(error: EngineError, said: str) -> BatchyardError:
    match error:
        case InvalidInputError() | ModelAnsweredError(code="INVALID_ARG"):
            return InvalidRequestError(said)
        case ModelAnsweredError(code="UNSUPPORTED"):
            return UnsupportedError(said)
        case ModelAnsweredError(code="NOT_FOUND"):
            return NotFoundError(said)
        case ModelAnsweredError(code="UNAVAILABLE"):
            return ModelUnavailableError(said)
        case ModelAnsweredError(code="CANCELLED"):
            return CallerGoneError(said)
        case ModelAnsweredError():
            return EngineFailedError(said, retryable=False)
        case _:
            return EngineFailedError(f"the engine failed on this request: {said}", retryable=error.retryable)
