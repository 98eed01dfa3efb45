"""Collects what is wrong with one config.pbtxt, so that all of it is told at once."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message

from engines.errors import ModelLoadError

T = TypeVar("T")

MOST_SHOWN = 10


def one_line(text: str) -> str:
    """The text with everything that does not print, line breaks included, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def key_path(field: str, key: str | int) -> str:
    """The path of one entry of a map field: `parameters["key"]`."""
    return f"{field}[{json.dumps(key)}]"


class Problems:
    """The problems of the file `source`, each with the field it is in."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._found: list[str] = []

    def add(self, field: str, text: str) -> None:
        """`text`: the value found and the remedy."""
        self._found.append(f"{field}: {text}")

    def raise_any(self) -> None:
        """Raises `ModelLoadError`, one line, if there are problems."""
        if not self._found:
            return
        shown = self._found[:MOST_SHOWN]
        if len(self._found) > len(shown):
            shown.append(f"and {len(self._found) - len(shown)} more")
        raise ModelLoadError(one_line(f"{self._source}: {'; '.join(shown)}"))


def enum_name(message: Message, field: str) -> str:
    """The name of an enum field's value; its number where this protobuf has no name for it."""
    number: int = getattr(message, field)
    enum: Any = message.DESCRIPTOR.fields_by_name[field].enum_type
    value = enum.values_by_number.get(number)
    return str(number) if value is None else value.name


def read_choice(message: Message, field: str, choices: Mapping[str, T], path: str, problems: Problems) -> T | None:
    """What an enum field's name means in `choices`; a problem, and None, where it is none of them."""
    name = enum_name(message, field)
    if name not in choices:
        problems.add(f"{path}.{field}", f"{name} is not served; use {' or '.join(choices)}")
    return choices.get(name)
