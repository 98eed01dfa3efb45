"""Triton's trace settings as callers write them: checked, and read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from service.errors import InvalidRequestError, UnsupportedError

OFF = "OFF"
_BOUNDS: Mapping[str, tuple[int, int]] = {
    "trace_rate": (0, 2**32 - 1),
    "trace_count": (-1, 2**31 - 1),
    "log_frequency": (0, 10_000),
}
"""Traces wait in memory until there are as many as their file holds."""


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """`level`: OFF or TIMESTAMPS. `rate`: one of so many requests is traced. `count`: so many more are, -1 no bound.

    `frequency`: traces that make one numbered file, 0: all go to one file. `named`: those that are not the defaults of
    whoever falls back on others.
    """

    level: str = OFF
    rate: int = 1000
    count: int = -1
    frequency: int = 0
    named: frozenset[str] = field(default_factory=frozenset)

    def changed(self, changes: Mapping[str, Sequence[str]], fallback: "TraceSettings") -> Self:
        """With `changes`, and what is not named as `fallback` has it; raises `InvalidRequestError`."""
        given = {_FIELDS[name]: _value(name, words) for name, words in _known(changes) if words}
        cleared = {_FIELDS[name] for name, words in changes.items() if not words}
        named = (self.named | given.keys()) - cleared
        kept = {name: getattr(self if name in self.named else fallback, name) for name in _FIELDS.values()}
        kept |= {name: getattr(fallback, name) for name in cleared}
        return replace(self, **{**kept, **given}, named=frozenset(named))

    def told(self, file: str, left: int) -> Mapping[str, tuple[str, ...]]:
        """All of them as callers read them, in Triton's order. `left`: of `count`."""
        return {
            "trace_level": (self.level,),
            "trace_rate": (str(self.rate),),
            "trace_count": (str(left),),
            "log_frequency": (str(self.frequency),),
            "trace_file": (file,),
            "trace_mode": ("triton",),
        }


_FIELDS: Mapping[str, str] = {
    "trace_level": "level",
    "trace_rate": "rate",
    "trace_count": "count",
    "log_frequency": "frequency",
}


def _known(changes: Mapping[str, Sequence[str]]) -> Sequence[tuple[str, Sequence[str]]]:
    for name in changes:
        if name == "trace_file":
            said = "trace file location can not be updated through network protocol"
            raise UnsupportedError("trace_file is a setting of the server's start", name).as_triton(said)
        if name == "trace_mode":
            raise UnsupportedError("trace_mode cannot be changed; traces are written in Triton's JSON", name)
        if name not in _FIELDS:
            raise InvalidRequestError(f"unknown trace setting {name!r}; known are {', '.join(_FIELDS)}", name)
    return list(changes.items())


def _value(name: str, words: Sequence[str]) -> str | int:
    return _level(words) if name == "trace_level" else _number(name, words)


def _level(words: Sequence[str]) -> str:
    if OFF in words and len(words) > 1:
        said = "Expect only one trace level 'OFF' is specified"
        raise InvalidRequestError("trace_level OFF stands alone", "trace_level").as_triton(said)
    if "TENSORS" in words:
        raise UnsupportedError(
            "trace_level TENSORS is not served: it would copy what callers send into a file; use TIMESTAMPS",
            "trace_level",
        )
    for word in words:
        if word not in (OFF, "TIMESTAMPS"):
            raise InvalidRequestError(f"trace_level {word!r} is not known; use OFF or TIMESTAMPS", "trace_level")
    return words[0]


def _number(name: str, words: Sequence[str]) -> int:
    least, most = _BOUNDS[name]
    text = ",".join(words)
    try:
        value = int(text)
    except ValueError:
        said = f"Unable to parse '{name}', got: {text}"
        raise InvalidRequestError(f"{name} is {text!r}; it must be a whole number", name).as_triton(said) from None
    if not least <= value <= most:
        raise InvalidRequestError(f"{name} is {value}; it must be from {least} to {most}", name)
    return value
