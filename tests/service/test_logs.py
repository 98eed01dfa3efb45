import io
import json
import logging
from collections.abc import Iterator

import pytest

from service.telemetry import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    root.handlers.clear()
    text = io.StringIO()
    logs.configure("info", text)
    yield text
    root.handlers[:], _ = before[0], root.setLevel(before[1])


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_line_holds_message_and_allowed_fields(stream: io.StringIO) -> None:
    logging.getLogger("service.x").info("answered %d", 7, extra={"request_id": "r1", "milliseconds": 1.5, "body": "no"})
    (line,) = _lines(stream)
    assert (line["message"], line["level"], line["logger"]) == ("answered 7", "info", "service.x")
    assert (line["request_id"], line["milliseconds"]) == ("r1", 1.5)
    assert "body" not in line


def test_a_message_cannot_forge_a_line(stream: io.StringIO) -> None:
    evil = 'x\n{"level": "error"}\r\x1b[2J\u2028"\ud800'
    logging.getLogger("x").warning(evil, extra={"model": evil})
    (line,) = [json.loads(line) for line in stream.getvalue().split("\n") if line]
    assert line["level"] == "warning"
    assert line["message"] == line["model"] == evil.replace("\ud800", "\\ud800")


def test_exceptions_stay_on_the_line_and_lines_stay_short(stream: io.StringIO) -> None:
    try:
        raise ValueError("y" * 10_000)
    except ValueError:
        logging.getLogger("x").exception("z" * 10_000)
    (line,) = _lines(stream)
    assert len(str(line["message"])) == len(str(line["exception"])) == logs.LONGEST


def test_level_is_honoured(stream: io.StringIO) -> None:
    logging.getLogger("x").debug("hidden")
    logging.getLogger("uvicorn.error").info("routine")
    assert stream.getvalue() == ""
