"""Logging: one JSON object a line on standard error. Fields are an allow-list, so no request body can slip in."""

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

import orjson

FIELDS = ("request_id", "model", "version", "engine", "route", "status", "outcome", "milliseconds", "signal")
"""Keys of `extra=` that reach the line; any other is dropped."""

LONGEST = 4096
"""Characters of a message, field or traceback that are kept: its start and its end."""


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON. Line breaks are escaped, so that a line cannot be forged."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        line.update((name, _plain(record.__dict__[name])) for name in FIELDS if name in record.__dict__)
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = _clean("".join(traceback.format_exception(*record.exc_info)))
        return orjson.dumps(line).decode()


def _clean(text: str) -> str:
    """Text of bounded length without lone surrogates, which JSON cannot carry."""
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + text[-LONGEST // 2 :]
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | None) else _clean(str(value))


def configure(level: str, stream: TextIO = sys.stderr) -> None:
    """Sends all logging to `stream` as JSON from `level` (debug, info, warning or error) upwards.

    The HTTP server's own routine lines are shown at debug only.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
