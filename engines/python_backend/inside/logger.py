"""The logger of a Python model."""

from enum import IntEnum
from types import MappingProxyType
from typing import ClassVar

from engines.python_backend.inside.errors import text_of
from engines.python_backend.inside.parent import Parent
from engines.python_backend.messages import Level, Logged


class LogLevel(IntEnum):
    """Triton's levels."""

    INFO = 0
    WARNING = 1
    ERROR = 2
    VERBOSE = 3


_LEVELS: MappingProxyType[LogLevel, Level] = MappingProxyType(
    {LogLevel.INFO: "info", LogLevel.WARNING: "warning", LogLevel.ERROR: "error", LogLevel.VERBOSE: "debug"}
)


class Logger:
    """Writes lines into the gateway's log."""

    LogLevel: ClassVar = LogLevel
    INFO: ClassVar = LogLevel.INFO
    WARNING: ClassVar = LogLevel.WARNING
    ERROR: ClassVar = LogLevel.ERROR
    VERBOSE: ClassVar = LogLevel.VERBOSE
    parent: ClassVar[Parent]

    @classmethod
    def log(cls, message: str, level: int = LogLevel.INFO) -> None:
        """One line at `level`."""
        cls.parent.send(Logged(_LEVELS[LogLevel(level)], text_of(message, "a log message")))

    @classmethod
    def log_info(cls, message: str) -> None:
        """One line of information."""
        cls.log(message, LogLevel.INFO)

    @classmethod
    def log_warn(cls, message: str) -> None:
        """One line that warns."""
        cls.log(message, LogLevel.WARNING)

    @classmethod
    def log_error(cls, message: str) -> None:
        """One line about an error."""
        cls.log(message, LogLevel.ERROR)

    @classmethod
    def log_verbose(cls, message: str) -> None:
        """One line of detail, shown at the level debug."""
        cls.log(message, LogLevel.VERBOSE)
