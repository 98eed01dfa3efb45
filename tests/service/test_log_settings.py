"""Triton's log settings, on lines that are really written."""

import io
import json
import logging

import pytest

from service.errors import InvalidRequestError
from service.telemetry.log_settings import LogSettings
from service.telemetry.logs import JsonFormatter


class Log:
    """A logger of its own, and what it wrote."""

    def __init__(self, level: int) -> None:
        self.text = io.StringIO()
        self.logger = logging.getLogger("tests.log_settings")
        self.logger.handlers.clear()
        self.logger.propagate = False
        self.logger.setLevel(level)
        handler = logging.StreamHandler(self.text)
        handler.setFormatter(JsonFormatter())
        self.logger.addHandler(handler)

    def levels(self) -> list[str]:
        """Of the lines that are written when one of each level is logged."""
        self.text.truncate(0)
        self.text.seek(0)
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
            self.logger.log(level, "a line")
        return [json.loads(line)["level"] for line in self.text.getvalue().splitlines()]


def test_it_starts_as_the_logger_is() -> None:
    told = LogSettings(Log(logging.INFO).logger).get()
    assert list(told) == ["log_file", "log_info", "log_warning", "log_error", "log_verbose_level", "log_format"]
    assert list(told.values()) == ["", True, True, True, 0, "default"]
    assert list(LogSettings(Log(logging.ERROR).logger).get().values()) == ["", False, False, True, 0, "default"]
    assert LogSettings(Log(logging.DEBUG).logger).get()["log_verbose_level"] == 1


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, ["info", "warning", "error", "critical"]),
        ({"log_info": False}, ["warning", "error", "critical"]),
        ({"log_warning": False}, ["info", "error", "critical"]),
        ({"log_error": False}, ["info", "warning"]),
        ({"log_verbose_level": 2}, ["debug", "info", "warning", "error", "critical"]),
        ({"log_verbose_level": 1, "log_info": False}, ["debug", "warning", "error", "critical"]),
        ({"log_info": False, "log_warning": False, "log_error": False}, []),
        ({"log_format": "ISO8601"}, ["info", "warning", "error", "critical"]),
    ],
)
def test_changes_reach_the_lines(changes: dict[str, bool | int | str], shown: list[str]) -> None:
    log = Log(logging.INFO)
    settings = LogSettings(log.logger)
    told = settings.update(changes)
    assert {name: told[name] for name in changes} == changes
    assert log.levels() == shown
    settings.update({"log_info": True, "log_warning": True, "log_error": True, "log_verbose_level": 0})
    assert log.levels() == ["info", "warning", "error", "critical"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("log_info", 1, "must be true or false"),
        ("log_verbose_level", -1, "whole number of 0 or more"),
        ("log_verbose_level", True, "whole number of 0 or more"),
        ("log_verbose_level", 2**31, "whole number of 0 or more"),
        ("log_format", "xml", "must be default or ISO8601"),
        ("log_file", "x", "cannot be changed"),
        ("log_fatal", True, "unknown log setting"),
    ],
)
def test_what_is_refused_changes_nothing(name: str, value: bool | int | str, words: str) -> None:
    log = Log(logging.INFO)
    settings = LogSettings(log.logger)
    before = settings.get()
    with pytest.raises(InvalidRequestError, match=words):
        settings.update({"log_error": False, name: value})
    assert settings.get() == before
    assert log.levels() == ["info", "warning", "error", "critical"]
