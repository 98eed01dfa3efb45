"""Reads single `parameters` of config.pbtxt as typed values."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from engines.config.problems import Problems, key_path

T = TypeVar("T")

INTEGER = re.compile(r"-?[0-9]{1,18}")
FLAGS: Mapping[str, bool] = {"false": False, "true": True}


class Values:
    """The string parameters of a model; what cannot be read becomes a problem under its key, and a harmless value."""

    def __init__(self, values: Mapping[str, str], problems: Problems) -> None:
        self._values = values
        self._problems = problems

    def has(self, key: str) -> bool:
        """Is the parameter given?"""
        return key in self._values

    def keys(self, prefix: str) -> list[str]:
        """The keys that start with `prefix`, sorted."""
        return sorted(key for key in self._values if key.startswith(prefix))

    def refuse_unknown(self, prefix: str, known: Sequence[str], families: tuple[str, ...] = ()) -> None:
        """A problem for each key that starts with `prefix` and is neither `known` nor of one of the `families`."""
        for key in self.keys(prefix):
            if key not in known and not key.startswith(families):
                nearest = difflib.get_close_matches(key, (*known, *families), n=1, cutoff=0.0)[0]
                self.refuse(key, f"{self.shown(key)} given, but there is no such parameter; the nearest is {nearest}")

    def refuse(self, key: str, text: str) -> None:
        """Adds a problem of the parameter `key`."""
        self._problems.add(key_path("parameters", key), text)

    def shown(self, key: str) -> str:
        """The value as an error message shows it."""
        return repr(self._values[key]) if self.has(key) else "is missing"

    def raw(self, key: str) -> str:
        """The value as it is, "" where there is none."""
        return self._values.get(key, "")

    def text(self, key: str, remedy: str) -> str:
        """A value that must not be empty."""
        if not self.raw(key):
            self.refuse(key, f"{self.shown(key)}; {remedy}")
        return self.raw(key)

    def integer(self, key: str, least: int, most: int, meaning: str) -> int:
        """A whole number from `least` to `most`."""
        value = self.raw(key)
        if not INTEGER.fullmatch(value) or not least <= int(value) <= most:
            self.refuse(key, f"{self.shown(key)}; give {meaning}: a whole number from {least} to {most}")
            return least
        return int(value)

    def choice(self, key: str, choices: Mapping[str, T], default: T) -> T:
        """One of `choices`; `default` where the key is absent."""
        if not self.has(key):
            return default
        if self.raw(key) not in choices:
            self.refuse(key, f"{self.shown(key)}; use {' or '.join(choices)}")
        return choices.get(self.raw(key), default)
