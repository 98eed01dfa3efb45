"""What an engine may raise. Nothing else leaves `Engine.run` or a creator."""

from typing import ClassVar


class EngineError(Exception):
    """Base of all engine errors. `retryable`: may another replica, or a second try, succeed?"""

    retryable: ClassVar[bool] = False


class ModelLoadError(EngineError):
    """The model, its configuration or its device cannot be opened; says what was found and the remedy."""


class MissingBackendError(ModelLoadError):
    """The vendor SDK is not installed; names the package to install."""


class MissingDeviceError(ModelLoadError):
    """The device that the model is to run on is not there; a declared fallback may take its place."""


class InvalidInputError(EngineError):
    """The input itself is at fault (a shape, a value, a poison row); trying again will not help."""


class ExecutionError(EngineError):
    """The engine failed while running a batch."""

    retryable = True


class EngineMemoryError(ExecutionError):
    """The device ran out of memory for this batch; a smaller one may fit."""


class InvalidOutputError(ExecutionError):
    """The engine answered with the wrong names, row count or shape."""


class EngineLostError(ExecutionError):
    """The process that ran the engine ended, or made no progress for too long and was ended; open the engine anew.

    `idle`: it had ended before it was given this batch, which is not to blame then.
    """

    def __init__(self, message: str, *, idle: bool = False) -> None:
        super().__init__(message)
        self.idle = idle


class EngineBusyError(ExecutionError):
    """The engine takes no more work for now. `retry_after`: seconds after which it says it would."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineTimeoutError(ExecutionError):
    """The time that the caller gave was over before the answer was complete."""


class EngineUnreachableError(ExecutionError):
    """The server that runs the model cannot be reached; it never saw the request, or left without a word."""


class EngineRefusedError(ExecutionError):
    """The server that runs the model does not let us in: the key is wrong, or lacks the right."""

    retryable = False


class ModelAnsweredError(EngineError):
    """The model's code answered this request with an error, and may be right: a second try would get the same.

    `code`: Triton's name of it, one of `CODES`.
    """

    CODES: ClassVar = (
        "UNKNOWN",
        "INTERNAL",
        "NOT_FOUND",
        "INVALID_ARG",
        "UNAVAILABLE",
        "UNSUPPORTED",
        "ALREADY_EXISTS",
        "CANCELLED",
    )

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code
