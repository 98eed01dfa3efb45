"""Errors as a Python model knows them."""

import traceback
from enum import IntEnum
from pathlib import Path
from typing import ClassVar

_HERE = str(Path(__file__).parent)


class TritonModelException(Exception):
    """Something that a model did, or asked for, is wrong."""


class ErrorCode(IntEnum):
    """Triton's error codes."""

    UNKNOWN = 0
    INTERNAL = 1
    NOT_FOUND = 2
    INVALID_ARG = 3
    UNAVAILABLE = 4
    UNSUPPORTED = 5
    ALREADY_EXISTS = 6
    CANCELLED = 7


class TritonError:
    """The error of one request."""

    UNKNOWN: ClassVar = ErrorCode.UNKNOWN
    INTERNAL: ClassVar = ErrorCode.INTERNAL
    NOT_FOUND: ClassVar = ErrorCode.NOT_FOUND
    INVALID_ARG: ClassVar = ErrorCode.INVALID_ARG
    UNAVAILABLE: ClassVar = ErrorCode.UNAVAILABLE
    UNSUPPORTED: ClassVar = ErrorCode.UNSUPPORTED
    ALREADY_EXISTS: ClassVar = ErrorCode.ALREADY_EXISTS
    CANCELLED: ClassVar = ErrorCode.CANCELLED

    def __init__(self, message: str, code: int = ErrorCode.INTERNAL) -> None:
        self._message = text_of(message, "TritonError: the message")
        self._code = ErrorCode(code)

    def code(self) -> ErrorCode:
        """One of the codes of this class."""
        return self._code

    def message(self) -> str:
        """What went wrong."""
        return self._message


class MisbehavedError(Exception):
    """A model did not do what it has to do; our own words, in which callers are told."""


def shown(error: BaseException) -> str:
    """An exception as callers are told of it: without the places in the code, which are for the log."""
    return plain(str(error) if isinstance(error, MisbehavedError) else f"{type(error).__name__}: {error}")


def placed(error: BaseException) -> str:
    """An exception with its places in the model's code, for the log."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    return plain("".join(traceback.format_exception(type(error), error, trace)))


def text_of(value: object, what: str) -> str:
    """A string that a model gives, which may be bytes as well, as text that can be sent."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, found {type(value).__name__}")
    return plain(value)


def plain(text: str) -> str:
    """Text that can be sent: without halves of characters."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
