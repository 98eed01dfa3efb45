"""JSON schemas that an answer can be held to while it is generated, read strictly.

What a grammar cannot promise is refused by name and path, never ignored. Objects are closed: they get the declared
properties, in their order. A schema is read in a few milliseconds, a hostile one too.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from engines.errors import InvalidInputError
from engines.json_tree import (
    AnyValue,
    Document,
    Items,
    Literals,
    Members,
    Named,
    Node,
    Options,
    Property,
)
from engines.json_values import (
    KINDS,
    cost_of,
    kinds_of,
    read_literals,
    read_number,
    read_text,
    refusal,
    shown,
    size_bounds,
)

LONGEST = 32_768
"""Characters of a schema."""
DEEPEST = 16
MOST_NAMES = 256
"""Properties and listed values in all."""
MOST_PARTS = 500
"""Schemas within the schema."""
MOST_ITEMS = 256
"""The largest minItems and maxItems."""
LONGEST_NAME = 128
MOST_COST = 16.0
"""What all of it may cost to compile, in places for any character; see `engines.json_pattern.cost`.

16 took 80 to 190 ms with a vocabulary of 49,000 tokens on two cores, while all other answers wait.
"""
_ITEM_COST = 0.03
"""Of each item that an array with bounds may have."""
_LETTER_COST = 0.001
"""Of each character of names and listed values."""

_NOTES = frozenset(
    ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema", "$id")
)
_DEFINITIONS = ("$defs", "definitions")
_OF_TYPE: Mapping[str, tuple[str, ...]] = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "array": ("items", "minItems", "maxItems"),
    "object": ("properties", "required", "additionalProperties"),
    "boolean": (),
    "null": (),
}
_WHOLE = ("$ref", "anyOf", "allOf", "const", "enum")
"""Keywords that say all there is to say; beside const and enum there may be a type."""
_KNOWN = frozenset(("type", *_WHOLE, *(key for keys in _OF_TYPE.values() for key in keys)))
_REMEDIES: Mapping[str, str] = {
    "oneOf": "use anyOf",
    "not": "describe what is wanted instead",
    "prefixItems": "use an object with a property for each",
    "patternProperties": "name the properties",
    "nullable": 'add "null" to the type',
    "multipleOf": "use an enum, or check it afterwards",
    "uniqueItems": "check it afterwards",
}


def check_json_schema(text: str) -> None:
    """Raises `InvalidInputError`, with the path in the schema, for what an answer cannot be held to."""
    read_json_schema(text)


def read_json_schema(text: str) -> Document:
    """What a schema says; raises as `check_json_schema`."""
    if len(text) > LONGEST:
        raise InvalidInputError(f"the JSON schema has {len(text)} characters; shorten it to {LONGEST}")
    try:
        schema = json.loads(text, parse_constant=_no_constant)
        json.dumps(schema, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InvalidInputError(f"the JSON schema is no JSON: {reason}") from None
    return _Reader(schema).document()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


class _Reader:
    """Reads one schema. `_names` to `_letters` count what costs; a definition is None while it is read."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._names = 0
        self._parts = 0
        self._priced: dict[Node, float] = {}
        self._letters = 0
        self._definitions: dict[str, Node | None] = {}

    def document(self) -> Document:
        root = self._node(self._schema, "$", 0)
        definitions = {name: node for name, node in self._definitions.items() if node is not None}
        return Document(root, definitions, self._names, self._cost)

    @property
    def _cost(self) -> float:
        return sum(self._priced.values()) + self._letters * _LETTER_COST

    def _node(self, schema: Any, path: str, depth: int) -> Node:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise refusal(path, f"is one part too many; a schema may have {MOST_PARTS}")
        if depth > DEEPEST:
            raise refusal(path, f"is nested deeper than {DEEPEST}")
        if schema is True:
            return AnyValue()
        if not isinstance(schema, dict):
            raise refusal(path, f"{shown(schema)} is no schema; give an object, or true for any value")
        passed_over = (*_NOTES, *_DEFINITIONS) if schema is self._schema else _NOTES
        told = {key: value for key, value in schema.items() if key not in passed_over}
        for key in told:
            if key not in _KNOWN:
                raise refusal(f"{path}.{key}", f"is not supported; {_REMEDIES.get(key, 'remove it')}")
        whole = [key for key in _WHOLE if key in told]
        if whole:
            return self._whole(whole[0], told, path, depth)
        return self._typed(told, path, depth) if told else AnyValue()

    def _whole(self, keyword: str, told: Mapping[str, Any], path: str, depth: int) -> Node:
        listed = keyword in ("const", "enum")
        for key in told:
            if key != keyword and not (listed and key == "type"):
                raise refusal(f"{path}.{key}", f"stands beside {keyword}, which says all; move it into that")
        value, here = told[keyword], f"{path}.{keyword}"
        if keyword == "$ref":
            return self._reference(value, here, depth)
        if keyword == "const":
            value = [value]
        if not isinstance(value, list) or not value:
            raise refusal(here, f"{shown(value)}; give a list that is not empty")
        if listed:
            found = read_literals(value, kinds_of(told["type"], path) if "type" in told else KINDS, here)
            self._count(found.texts, here)
            return found
        if keyword == "allOf" and len(value) > 1:
            raise refusal(here, "has several schemas; merge them into one")
        return _options([self._node(one, f"{here}[{place}]", depth + 1) for place, one in enumerate(value)])

    def _reference(self, value: Any, path: str, depth: int) -> Node:
        parts = value.split("/") if isinstance(value, str) else []
        if len(parts) != 3 or parts[0] != "#" or parts[1] not in _DEFINITIONS:
            raise refusal(path, f"{shown(value)}; refer to '#/$defs/NAME' in this schema")
        name = parts[2].replace("~1", "/").replace("~0", "~")
        found = self._schema.get(parts[1])
        if not isinstance(found, dict) or name not in found:
            raise refusal(path, f"{shown(value)} is not there; add it under {parts[1]}")
        key = f"{parts[1]}/{name}"
        if key not in self._definitions:
            self._definitions[key] = None
            self._definitions[key] = self._node(found[name], f"$.{parts[1]}.{name}", depth + 1)
        if self._definitions[key] is None:
            raise refusal(path, f"{shown(value)} leads back to itself; write out as many levels as are needed")
        return Named(key)

    def _typed(self, told: Mapping[str, Any], path: str, depth: int) -> Node:
        if "type" not in told:
            raise refusal(path, f"has {next(iter(told))} but no type; add one: {', '.join(KINDS)}")
        kinds = kinds_of(told["type"], path)
        for key in told:
            if key != "type" and not any(key in _OF_TYPE[kind] for kind in kinds):
                raise refusal(f"{path}.{key}", f"does not go with type {' or '.join(kinds)}; remove it")
        return _options([self._of_type(kind, told, path, depth) for kind in kinds])

    def _of_type(self, kind: str, told: Mapping[str, Any], path: str, depth: int) -> Node:
        match kind:
            case "string":
                text = read_text(told, path)
                return self._priced_at(text, cost_of(text), path)
            case "integer" | "number":
                number = read_number(kind, told, path)
                return self._priced_at(number, cost_of(number), path)
            case "array":
                least, most = size_bounds(told, "minItems", "maxItems", MOST_ITEMS, path)
                item = self._node(told.get("items", True), f"{path}.items", depth + 1)
                return self._priced_at(Items(item, least, most), _ITEM_COST * max(least, most or 0), path)
            case "object":
                return self._members(told, path, depth)
            case "boolean":
                return Literals(("true", "false"))
        return Literals(("null",))

    def _members(self, told: Mapping[str, Any], path: str, depth: int) -> Node:
        properties, others = told.get("properties", {}), told.get("additionalProperties", True)
        if not isinstance(properties, dict):
            raise refusal(f"{path}.properties", f"{shown(properties)}; give an object of schemas")
        if isinstance(others, dict) and properties:
            raise refusal(f"{path}.additionalProperties", "stands beside properties; use false, or leave out one")
        required = _required(told.get("required", []), properties, path)
        self._count(properties.keys(), path)
        found = []
        for name, schema in properties.items():
            if len(name) > LONGEST_NAME or not name.isprintable():
                raise refusal(path, f"{shown(name)} is a bad name; use up to {LONGEST_NAME} characters that print")
            value = self._node(schema, f"{path}.properties.{name}", depth + 1)
            found.append(Property(name, value, name in required))
        if "properties" in told or others is False:
            return Members(tuple(found))
        return Members((), self._node(others, f"{path}.additionalProperties", depth + 1))

    def _priced_at(self, node: Node, cost: float, path: str) -> Node:
        """Equal ones are compiled once."""
        self._priced[node] = cost
        self._check_cost(path)
        return node

    def _count(self, names: Collection[str], path: str) -> None:
        self._names += len(names)
        self._letters += sum(map(len, names))
        if self._names > MOST_NAMES:
            raise refusal(path, f"brings the names and listed values to {self._names}; a schema may have {MOST_NAMES}")
        self._check_cost(path)

    def _check_cost(self, path: str) -> None:
        if self._cost > MOST_COST:
            remedy = "lower maxLength, maxItems and the bounds of repetitions, or leave them out"
            raise refusal(
                path, f"takes the cost of counting to {self._cost:.0f}, {MOST_COST:.0f} is the most; {remedy}"
            )


def _required(names: Any, properties: Mapping[str, Any], path: str) -> frozenset[str]:
    if not isinstance(names, list):
        raise refusal(f"{path}.required", f"{shown(names)}; give a list of names")
    for name in names:
        if not isinstance(name, str) or name not in properties:
            raise refusal(f"{path}.required", f"{shown(name)} is not among the properties; add it there")
    return frozenset(names)


def _options(nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else Options(tuple(nodes))
