"""JSON schemas made up from all that is allowed, and whether a value fits one."""

import re
from typing import Any

from hypothesis import strategies as st

from engines.json_pattern import Chain, Chars, Either, Pattern, Repeat
from engines.json_values import FORMATS

Schema = Any

_PIECES = ("[a-z]", "[A-Z]{2}", "\\d", "\\d{2,4}", "(foo|bar)", "-", "\\w+", "[^,;]*", "x?", ".", "(-[a-z]+)*", "\\.")
_NAMES = st.text("abcÄ漢 _-\"\\'/{}", min_size=1, max_size=12)
_NUMBERS = st.one_of(st.integers(-(10**6), 10**6), st.sampled_from([0, 0.5, -2.25, 1e9, -1.125, 10**15 - 1]))
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, st.text('ab"\\/\n漢é😀', max_size=8))


def schemas() -> st.SearchStrategy[Schema]:
    """Any of them, some too costly to be allowed."""
    return st.recursive(_leaves(), _nested, max_leaves=10)


def _leaves() -> st.SearchStrategy[Schema]:
    return st.one_of(
        st.sampled_from([True, {}, {"type": "null"}, {"type": "boolean"}, {"type": "string"}, {"type": "object"}]),
        st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(0, 12)),
        st.builds(lambda n, m: {"type": "string", "minLength": n, "maxLength": n + m}, *[st.integers(0, 5)] * 2),
        st.builds(lambda name: {"type": "string", "format": name}, st.sampled_from(sorted(FORMATS))),
        st.builds(
            lambda pieces: {"type": "string", "pattern": f"^{''.join(pieces)}$"},
            st.lists(st.sampled_from(_PIECES), min_size=1, max_size=4),
        ),
        st.builds(_numbers, st.sampled_from(["integer", "number"]), st.lists(_NUMBERS, max_size=2), st.booleans()),
        st.builds(lambda values: {"enum": values}, st.lists(_SCALARS, min_size=1, max_size=6)),
        st.builds(lambda value: {"const": value, "description": "x"}, _SCALARS),
        st.just({"type": ["string", "null"], "maxLength": 3}),
    )


def _numbers(kind: str, ends: list[float], is_open: bool) -> Schema:
    names = ("exclusiveMinimum", "exclusiveMaximum") if is_open else ("minimum", "maximum")
    return {"type": kind, **dict(zip(names, sorted(ends), strict=False))}


def _nested(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.one_of(
        st.builds(_object, st.dictionaries(_NAMES, inner, max_size=4), st.integers(0, 15)),
        st.builds(lambda item: {"type": "object", "additionalProperties": item}, inner),
        st.builds(lambda item, n: {"type": "array", "items": item, "maxItems": n}, inner, st.integers(0, 4)),
        st.builds(lambda item, n: {"type": "array", "items": item, "minItems": n}, inner, st.integers(0, 3)),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda one: {"allOf": [one]}, inner),
    )


def _object(properties: dict[str, Schema], chosen: int) -> Schema:
    required = [name for place, name in enumerate(properties) if chosen >> place & 1]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def fits(schema: Schema, value: Any) -> bool:
    """Does the value fit, as JSON Schema has it? For schemas without references."""
    if schema is True or not schema:
        return True
    if "const" in schema or "enum" in schema:
        return any(_same(value, one) for one in schema.get("enum", [schema.get("const")]))
    for key in ("anyOf", "allOf"):
        if key in schema:
            return any(fits(one, value) for one in schema[key])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return any(_is(kind, value) for kind in kinds) and _within(schema, value)


def _same(value: Any, one: Any) -> bool:
    return value == one and isinstance(value, bool) == isinstance(one, bool)


def _is(kind: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "string": isinstance(value, str),
        "number": number,
        "integer": number and float(value).is_integer(),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }[kind]


def _within(schema: Schema, value: Any) -> bool:
    if isinstance(value, str):
        pattern = FORMATS[schema["format"]] if "format" in schema else schema.get("pattern", "")
        sized = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        return sized and bool(re.fullmatch(pattern or ".*", value, re.DOTALL))
    if isinstance(value, list):
        sized = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return sized and all(fits(schema.get("items", True), item) for item in value)
    if isinstance(value, dict):
        inner, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        known = all(fits(inner.get(name, others), item) for name, item in value.items() if name in inner or others)
        return known and set(schema.get("required", [])) <= set(value) and (bool(others) or set(value) <= set(inner))
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        above, below = schema.get("exclusiveMinimum", value - 1), schema.get("exclusiveMaximum", value + 1)
        return bool(low <= value <= high and above < value < below)
    return True


def as_regex(pattern: Pattern) -> str:
    """The pattern in Python's own dialect."""
    match pattern:
        case Chars(ranges):
            return "[" + "".join(f"{re.escape(chr(low))}-{re.escape(chr(high))}" for low, high in ranges) + "]"
        case Chain(parts):
            return "(?:" + "".join(map(as_regex, parts)) + ")"
        case Either(options):
            return "(?:" + "|".join(map(as_regex, options)) + ")"
        case Repeat(part, least, most):
            return f"(?:{as_regex(part)}){{{least},{'' if most is None else most}}}"
