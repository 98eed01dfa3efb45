"""Strings, numbers and listed values of a JSON schema: what their keywords ask for, checked."""

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from engines.errors import InvalidInputError
from engines.json_numbers import ANY_INTEGER, ANY_NUMBER, MOST, PLACES, Bounds, integers, numbers
from engines.json_pattern import cost
from engines.json_regex import read_pattern
from engines.json_tree import Literals, Number, Text

LONGEST_TEXT = 256
"""The largest minLength and maxLength; what they cost bounds them sooner."""
LONGEST_LITERALS = 16_384
"""Characters of all the listed values of one enum."""

KINDS = ("string", "integer", "number", "boolean", "null", "array", "object")

_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DATE = (
    "[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_LABEL = "[a-z0-9]+(-[a-z0-9]+)*"
FORMATS: Mapping[str, str] = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": "P([1-9][0-9]{0,3}W|[1-9][0-9]{0,3}D(T[1-9][0-9]{0,3}[HMS])?|T[1-9][0-9]{0,3}[HMS])",
    "email": f"[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@{_LABEL}(\\.{_LABEL})*\\.[a-z]{{2,4}}",
    "hostname": f"{_LABEL}(\\.{_LABEL})*",
    "ipv4": f"({_BYTE}\\.){{3}}{_BYTE}",
    "ipv6": "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}
"""Patterns of the formats that are known; each is narrower than the format itself."""


def cost_of(node: Text | Number) -> float:
    """What it costs to compile; see `engines.json_pattern.cost`. Free strings and numbers are there anyway."""
    if isinstance(node, Number) or node.pattern is not None:
        return 0.0 if node.pattern in (None, ANY_INTEGER, ANY_NUMBER) else cost(node.pattern)
    return float(node.least + 1 if node.most is None and node.least else node.most or 0)


def refusal(path: str, text: str) -> InvalidInputError:
    """The error of what stands at `path`."""
    return InvalidInputError(f"JSON schema, at {path}: {text}")


def shown(value: object) -> str:
    """A value as an error shows it, cut short."""
    text = json.dumps(value, ensure_ascii=True, default=str) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def kinds_of(value: Any, path: str) -> tuple[str, ...]:
    """The types that `type` names."""
    kinds = value if isinstance(value, list) else [value]
    for kind in kinds:
        if not isinstance(kind, str) or kind not in KINDS:
            raise refusal(f"{path}.type", f"{shown(kind)} is no type; use {', '.join(KINDS)}")
    if not kinds or len(set(kinds)) < len(kinds):
        raise refusal(f"{path}.type", f"{shown(value)} names no type or one twice; name each once")
    return tuple(kinds)


def size_bounds(told: Mapping[str, Any], least: str, most: str, largest: int, path: str) -> tuple[int, int | None]:
    """The values of a pair of keywords such as minItems and maxItems."""
    found: list[int | None] = []
    for key in (least, most):
        value = told.get(key)
        if key in told and (type(value) is not int or not 0 <= value <= largest):
            raise refusal(f"{path}.{key}", f"{shown(value)}; give a whole number from 0 to {largest}")
        found.append(value)
    low, high = found[0] or 0, found[1]
    if high is not None and low > high:
        raise refusal(f"{path}.{least}", f"{low} is above {most}, {high}; nothing can have that size")
    return low, high


def read_text(told: Mapping[str, Any], path: str) -> Text:
    """What the keywords of a string ask for."""
    sized = [key for key in ("minLength", "maxLength") if key in told]
    shaped = [key for key in ("pattern", "format") if key in told]
    if len(shaped) + bool(sized) > 1:
        both = " and ".join((*shaped, *sized))
        raise refusal(path, f"{both} cannot be held to at once; put the length into a pattern, as {{1,20}}")
    if not shaped:
        return Text(*size_bounds(told, "minLength", "maxLength", LONGEST_TEXT, path))
    key, value = shaped[0], told[shaped[0]]
    if not isinstance(value, str):
        raise refusal(f"{path}.{key}", f"{shown(value)} is no string")
    if key == "format" and value not in FORMATS:
        raise refusal(f"{path}.format", f"{shown(value)} is not known; use {', '.join(FORMATS)}, or a pattern")
    try:
        return Text(pattern=read_pattern(FORMATS[value] if key == "format" else value))
    except InvalidInputError as error:
        raise refusal(f"{path}.{key}", str(error)) from None


def read_number(kind: str, told: Mapping[str, Any], path: str) -> Number:
    """What the keywords of an integer or a number ask for."""
    ends = {key: _end(told[key], f"{path}.{key}") for key in told if key.lower().endswith(("minimum", "maximum"))}
    if not ends:
        return Number(ANY_INTEGER if kind == "integer" else ANY_NUMBER)
    low, low_open = _tighter(ends.get("minimum"), ends.get("exclusiveMinimum"), 1)
    high, high_open = _tighter(ends.get("maximum"), ends.get("exclusiveMaximum"), -1)
    bounds = Bounds(low, high, low_open, high_open)
    pattern = integers(bounds) if kind == "integer" else numbers(bounds)
    if pattern is None:
        raise refusal(path, f"no {kind} lies within {', '.join(f'{key} {shown(told[key])}' for key in ends)}")
    return Number(pattern)


def _tighter(closed: Decimal | None, opened: Decimal | None, side: int) -> tuple[Decimal | None, bool]:
    """The end that leaves less, and is it left out? `side` 1: the lower end."""
    if opened is not None and (closed is None or (opened - closed) * side >= 0):
        return opened, True
    return closed, False


def _end(value: Any, path: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > MOST:
        raise refusal(path, f"{shown(value)}; give a number from {-MOST} to {MOST}")
    number = Decimal(repr(value))
    if number != round(number, PLACES):
        raise refusal(path, f"{shown(value)} has more than {PLACES} digits after the point; round it")
    return number


def read_literals(values: Sequence[Any], kinds: Sequence[str], path: str) -> Literals:
    """The values of an enum or a const, each of one of `kinds`."""
    for value in values:
        if isinstance(value, dict | list):
            raise refusal(path, f"lists {shown(value)}; list strings, numbers, true, false and null only")
        if not any(_is_a(value, kind) for kind in kinds):
            raise refusal(path, f"lists {shown(value)}, which is no {' or '.join(kinds)}")
        if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= MOST):
            raise refusal(path, f"lists {shown(value)}; stay within {-MOST} and {MOST}")
    texts = tuple(dict.fromkeys(json.dumps(value, ensure_ascii=False) for value in values))
    if sum(map(len, texts)) > LONGEST_LITERALS:
        raise refusal(path, f"lists more than {LONGEST_LITERALS} characters; shorten the values")
    return Literals(texts)


def _is_a(value: Any, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "integer":
            return not isinstance(value, bool) and isinstance(value, int | float) and value == math.floor(value)
        case "number":
            return not isinstance(value, bool) and isinstance(value, int | float)
    return False
