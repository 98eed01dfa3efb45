"""Triton's log settings, and what they do to our log lines."""

import logging
from collections.abc import Mapping

from service.errors import InvalidRequestError, UnsupportedError

_LEVELS: Mapping[str, int] = {"log_info": logging.INFO, "log_warning": logging.WARNING, "log_error": logging.ERROR}
_FORMATS = ("default", "ISO8601")
_SILENT = logging.CRITICAL + 1

LogValue = bool | int | str


class LogSettings(logging.Filter):
    """Shows the lines of each level or not; lines of debug where `log_verbose_level` is 1 or more.

    Starts with what the logger shows. Each line stays one JSON object with its time in ISO 8601, whatever `log_format`.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        super().__init__()
        self._logger = logger or logging.getLogger()
        least = self._logger.level
        self._shown = {name: least <= level for name, level in _LEVELS.items()}
        self._verbose = int(least <= logging.DEBUG)
        self._format = _FORMATS[0]

    def get(self) -> Mapping[str, LogValue]:
        """All settings, in Triton's order."""
        return {"log_file": "", **self._shown, "log_verbose_level": self._verbose, "log_format": self._format}

    def update(self, changes: Mapping[str, LogValue]) -> Mapping[str, LogValue]:
        """Changes all that are named, or none; gives all. Raises `InvalidRequestError`."""
        for name, value in changes.items():
            _check(name, value)
        self._shown.update((name, bool(changes[name])) for name in _LEVELS if name in changes)
        self._verbose = int(changes.get("log_verbose_level", self._verbose))
        self._format = str(changes.get("log_format", self._format))
        self._apply()
        return self.get()

    def filter(self, record: logging.LogRecord) -> bool:
        """Is the line to be shown?"""
        if record.levelno < logging.INFO:
            return self._verbose > 0
        name = "log_info" if record.levelno < logging.WARNING else "log_warning"
        return self._shown["log_error" if record.levelno >= logging.ERROR else name]

    def _apply(self) -> None:
        least = min((_LEVELS[name] for name, shown in self._shown.items() if shown), default=_SILENT)
        self._logger.setLevel(logging.DEBUG if self._verbose else least)
        for handler in self._logger.handlers:
            handler.addFilter(self)


def _check(name: str, value: LogValue) -> None:
    if name == "log_file":
        said = "log file location can not be updated through network protocol"
        raise UnsupportedError("log_file cannot be changed; log lines go to standard error", name).as_triton(said)
    if name in _LEVELS:
        if type(value) is not bool:
            raise InvalidRequestError(f"{name} is {value!r}; it must be true or false", name)
    elif name == "log_verbose_level":
        if type(value) is not int or not 0 <= value < 2**31:
            raise InvalidRequestError(f"{name} is {value!r}; it must be a whole number of 0 or more", name)
    elif name == "log_format":
        if value not in _FORMATS:
            said = f"invalid argument for --log_format, got: {value}"
            wanted = " or ".join(_FORMATS)
            raise InvalidRequestError(f"{name} is {value!r}; it must be {wanted}", name).as_triton(said)
    else:
        raise InvalidRequestError(f"unknown log setting {name!r}; leave it out", name)
