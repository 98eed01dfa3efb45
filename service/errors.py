"""What can go wrong, in the gateway's words. Only `service.api.errors` knows what each is on the wire."""

from typing import Self

from service.types import DIRECT, Routed


class BatchyardError(Exception):
    """Base: the message is written for the caller. `routed`: what a route had found by then, where it was asked to
    explain. `triton`: the message as Triton words it, "" where it has none for this, for `compat = "triton"`.
    `executed`: the model looked at the request, and this is what it said."""

    routed: Routed = DIRECT
    triton: str = ""
    executed: bool = False

    def as_triton(self, words: str) -> Self:
        """The same, with Triton's words."""
        self.triton = words
        return self

    def __copy__(self) -> Self:
        """The same for another caller, who adds a traceback and words of its own."""
        made = type(self).__new__(type(self), *self.args)
        made.__dict__.update(self.__dict__)
        return made


class InvalidRequestError(BatchyardError):
    """The request is at fault. `param`: the field to mend, where one is known."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnsupportedError(InvalidRequestError):
    """Well-formed, but not served here."""


class SequenceLostError(InvalidRequestError):
    """What the request goes on from is lost; its sequence must be started again."""


class RequestTooLargeError(InvalidRequestError):
    """The body is larger than the limit, as sent or inflated."""


class HeadTooLargeError(BatchyardError):
    """The headers of the request are larger, or more, than the limit."""


class TargetTooLongError(BatchyardError):
    """The URL of the request is longer than the limit."""


class SlowRequestError(BatchyardError):
    """The request came so slowly that its time was over before it was whole."""


class NotFoundError(BatchyardError):
    """No such model or version."""


class UnauthenticatedError(BatchyardError):
    """The call brings no key, or one that nobody has."""


class NotAllowedError(BatchyardError):
    """The operator of this server has not allowed it."""


class LoadFailedError(BatchyardError):
    """A model could not be loaded; what was loaded of it goes on."""


class ModelUnavailableError(BatchyardError):
    """The model is known but cannot answer now; says why. `retry_after`: seconds, 0 where nobody knows."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RetryLaterError(BatchyardError):
    """Refused for now. `retry_after`: seconds after which it would be accepted, predicted."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExceededError(RetryLaterError):
    """The tenant has used what it may within a window. `retry_after`: until the window has room again."""


class QueueFullError(RetryLaterError):
    """The model's queue is full."""


class DeadlineHopelessError(RetryLaterError):
    """The deadline cannot be met from here; refused before it costs anything."""


class DoorBusyError(RetryLaterError):
    """There are too many connections, or too many requests wait on one."""


class DeadlineExceededError(BatchyardError):
    """Accepted, but the deadline passed before the answer was there."""


class SlowReaderError(BatchyardError):
    """The caller reads its answer so slowly that what waits for it passed the bound."""


class EngineFailedError(BatchyardError):
    """The engine failed on this request. `retryable`: may another replica succeed?"""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class CallerGoneError(BatchyardError):
    """The caller left; nobody reads the answer."""
