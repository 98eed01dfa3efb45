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
