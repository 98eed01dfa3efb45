"""JSON schemas that answers are held to: what is read, what is refused by name and path, and what patterns match."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import InvalidInputError
from engines.json_numbers import Bounds, integers, numbers
from engines.json_regex import read_pattern
from engines.json_schema import LONGEST, MOST_NAMES, check_json_schema, read_json_schema
from engines.json_tree import AnyValue, Items, Literals, Members, Named, Options, Property, Text
from tests.engines.json_schemas import as_regex, schemas


def check(schema: Any) -> None:
    check_json_schema(json.dumps(schema))


def test_a_schema_as_pydantic_writes_it() -> None:
    schema = {
        "$defs": {"Kind": {"enum": ["card", "cash"], "type": "string", "title": "Kind"}},
        "properties": {
            "kind": {"allOf": [{"$ref": "#/$defs/Kind"}], "description": "of payment"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "parts": {"items": {"$ref": "#/$defs/Kind"}, "maxItems": 3, "type": "array"},
        },
        "required": ["kind"],
        "title": "Payment",
        "type": "object",
    }
    document = read_json_schema(json.dumps(schema))
    kind = Named("$defs/Kind")
    note = Options((Text(), Literals(("null",))))
    expected = (
        Property("kind", kind, True),
        Property("note", note, False),
        Property("parts", Items(kind, 0, 3), False),
    )
    assert document.root == Members(expected)
    assert document.definitions == {"$defs/Kind": Literals(('"card"', '"cash"'))}


def test_an_object_that_names_nothing_is_any_object() -> None:
    assert read_json_schema('{"type": "object"}').root == Members((), AnyValue())
    assert read_json_schema('{"type": "object", "properties": {}}').root == Members(())


@pytest.mark.parametrize(
    ("schema", "path", "text"),
    [
        (False, "$", "is no schema; give an object"),
        (None, "$", "null is no schema"),
        ([], "$", "is no schema"),
        ({"type": "objekt"}, "$.type", "'objekt' is no type; use string"),
        ({"type": ["string", "string"]}, "$.type", "names no type or one twice"),
        ({"type": []}, "$.type", "names no type"),
        ({"type": 5}, "$.type", "5 is no type"),
        ({"properties": {}}, "$", "has properties but no type; add one"),
        ({"type": "object", "patternProperties": {}}, "$.patternProperties", "not supported; name the properties"),
        ({"oneOf": [{}]}, "$.oneOf", "not supported; use anyOf"),
        ({"not": {}}, "$.not", "not supported"),
        ({"type": "string", "minimum": 3}, "$.minimum", "does not go with type string"),
        ({"type": "number", "multipleOf": 2}, "$.multipleOf", "not supported"),
        ({"anyOf": []}, "$.anyOf", "give a list that is not empty"),
        ({"anyOf": {}}, "$.anyOf", "give a list"),
        ({"anyOf": [{"type": "x"}]}, "$.anyOf[0].type", "is no type"),
        ({"anyOf": [{}], "type": "string"}, "$.type", "stands beside anyOf"),
        ({"enum": []}, "$.enum", "not empty"),
        ({"enum": [[1]]}, "$.enum", "list strings, numbers"),
        ({"enum": ["a"], "type": "integer"}, "$.enum", "'a', which is no integer"),
        ({"const": 1e300}, "$.const", "stay within"),
        ({"allOf": [{}, {}]}, "$.allOf", "merge them into one"),
        ({"type": "object", "properties": []}, "$.properties", "give an object of schemas"),
        ({"type": "object", "required": ["a"]}, "$.required", "'a' is not among the properties"),
        ({"type": "object", "required": [{}]}, "$.required", "is not among the properties"),
        ({"type": "object", "properties": {"a\n": {}}}, "$", "is a bad name"),
        ({"type": "object", "properties": {"a" * 129: {}}}, "$", "is a bad name"),
        ({"type": "object", "properties": {"a": 5}}, "$.properties.a", "5 is no schema"),
        (
            {"type": "object", "properties": {"a": {}}, "additionalProperties": {}},
            "$.additionalProperties",
            "stands beside properties",
        ),
        ({"type": "array", "minItems": -1}, "$.minItems", "give a whole number from 0 to 256"),
        ({"type": "array", "minItems": True}, "$.minItems", "give a whole number"),
        ({"type": "array", "minItems": 5, "maxItems": 2}, "$.minItems", "5 is above maxItems, 2"),
        ({"type": "array", "items": [{}]}, "$.items", "is no schema"),
        ({"type": "string", "maxLength": 10**9}, "$.maxLength", "from 0 to 256"),
        ({"type": "string", "maxLength": 200}, "$", "takes the cost of counting to 200, 16 is the most"),
        ({"type": "string", "pattern": "a", "maxLength": 3}, "$", "cannot be held to at once"),
        ({"type": "string", "format": "color"}, "$.format", "'color' is not known; use date"),
        ({"type": "string", "format": 3}, "$.format", "3 is no string"),
        ({"type": "string", "pattern": "(?=a)"}, "$.pattern", "looks around or names a group"),
        ({"type": "integer", "minimum": "3"}, "$.minimum", "give a number from"),
        ({"type": "integer", "minimum": True}, "$.minimum", "give a number from"),
        ({"type": "integer", "minimum": 1e16}, "$.minimum", "give a number from"),
        ({"type": "number", "minimum": 1e-9}, "$.minimum", "more than 6 digits after the point"),
        ({"type": "integer", "minimum": 5, "maximum": 1}, "$", "no integer lies within minimum 5, maximum 1"),
        ({"type": "integer", "minimum": 0.2, "maximum": 0.8}, "$", "no integer lies within"),
        ({"type": "number", "exclusiveMinimum": 1, "maximum": 1}, "$", "no number lies within"),
        ({"$ref": "#"}, "$.$ref", "refer to '#/$defs/NAME'"),
        ({"$ref": "http://example.com/x.json"}, "$.$ref", "refer to"),
        ({"$ref": "#/$defs/a/properties/b"}, "$.$ref", "refer to"),
        ({"$ref": "#/$defs/a"}, "$.$ref", "is not there"),
        ({"$ref": 5}, "$.$ref", "refer to"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "$.$defs.a.$ref", "leads back to itself"),
        ({"type": "object", "properties": {"x": {"$defs": {}}}}, "$.properties.x.$defs", "not supported"),
    ],
)
def test_what_cannot_be_held_to_is_refused_by_its_path(schema: Any, path: str, text: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^JSON schema, at {re.escape(path)}: .*{re.escape(text)}"):
        check(schema)


def test_definitions_that_lead_back_to_each_other_are_refused() -> None:
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]}}}
    other = {"type": "array", "items": {"$ref": "#/$defs/a"}}
    with pytest.raises(InvalidInputError, match="leads back to itself; write out"):
        check({"$defs": {"a": node, "b": other}, "$ref": "#/$defs/a"})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ('{"const": NaN}', "NaN is no JSON number"),
        ('{"const": "\\ud800"}', "is no JSON: .*surrogates"),
        ("[" * 20_000, "nested too deep|is no JSON"),
        (" " * (LONGEST + 1), f"shorten it to {LONGEST}"),
        ('{"type":"integer","minimum":' + "9" * 5000 + "}", "is no JSON|give a number"),
    ],
)
def test_what_is_no_json_is_refused(text: str, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        check_json_schema(text)


def test_deep_wide_and_repeated_schemas_are_refused() -> None:
    deep: Any = {"type": "string"}
    for _ in range(20):
        deep = {"type": "array", "items": deep}
    with pytest.raises(InvalidInputError, match="deeper than 16"):
        check(deep)
    with pytest.raises(InvalidInputError, match=f"may have {MOST_NAMES}"):
        check({"enum": list(range(MOST_NAMES + 1))})
    with pytest.raises(InvalidInputError, match=f"may have {MOST_NAMES}"):
        check({"type": "object", "properties": {f"p{n}": True for n in range(MOST_NAMES + 1)}})
    with pytest.raises(InvalidInputError, match="one part too many"):
        check({"anyOf": [{"anyOf": [{}] * 30}] * 20})
    doubling = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(6)}
    check({"$defs": {**doubling, "d6": {"type": "null"}}, "$ref": "#/$defs/d0"})


def test_what_is_equal_costs_once() -> None:
    short = {"type": "string", "maxLength": 10}
    check({"type": "object", "properties": {f"p{n}": short for n in range(50)}})
    with pytest.raises(InvalidInputError, match=r"at \$\.properties\.q: takes the cost"):
        check({"type": "object", "properties": {"p": short, "q": {"type": "string", "maxLength": 11}}})


@given(schemas())
def test_what_is_made_of_allowed_words_is_read_or_too_costly(schema: Any) -> None:
    told = ""
    try:
        check(schema)
    except InvalidInputError as error:
        told = str(error)
    assert re.search("^$|cost of counting|lies within", told)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("^[A-Z]{2}\\d{2}[A-Z0-9]{1,3}$", ["DE12A", "FR34X9Z"], ["DE1A", "de12A", "DE12ABCD"]),
        ("^(foo|ba[rz])+$", ["foo", "barbaz"], ["", "fo"]),
        ("^a$|^b$", ["a", "b"], ["ab"]),
        ("[a-z]+(-[a-z]+)*", ["a", "a-bc-d"], ["-a", "a-"]),
        ("\\+?[1-9]\\d{1,14}", ["+49", "491"], ["+049", "+"]),
        (".{2}", ["a/", "漢é"], ['a"', "a\\", "a\n", "abc"]),
        ("[^a-c]x?", ["d", "Dx"], ["a", '"']),
        ("\\u0041\\x42\\.\\-", ["AB.-"], ["ABx-"]),
        ("(?:ab){2,}?c*?", ["abab", "abababcc"], ["ab"]),
        ("[\\w-]+@[\\w.]+", ["a-b@c.d"], ["@c"]),
    ],
)
def test_patterns_mean_what_they_say(pattern: str, matching: list[str], other: list[str]) -> None:
    found = re.compile(as_regex(read_pattern(pattern)))
    assert [text for text in matching if not found.fullmatch(text)] == []
    assert [text for text in other if found.fullmatch(text)] == []


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("(", "ends in the middle|without its"),
        ("a)", "without its"),
        ("[a", "ends in the middle"),
        ("[]", "for none at all"),
        ("[b-a]", "does not rise"),
        ("[\\d-z]", "does not rise"),
        ("*a", "nothing before it"),
        ("a**", "repeats a repetition"),
        ("a{2", "escape it"),
        ("a{5,2}", "rising"),
        ("a{0,257}", "from 0 to 256"),
        ("(a*)*", "may be empty"),
        ("(\\w*a\\w+|.)*", "a sign of its own"),
        ("(?<n>a)", "looks around"),
        ("(?!a)b", "looks around"),
        ("\\1", "uses \\\\1"),
        ("\\bword", "uses \\\\b"),
        ("\\p{L}", "uses \\\\p"),
        ("a^b", "has a \\^ in the middle"),
        ("a$b", "has a \\$ in the middle"),
        ("\\n", "writes as an escape"),
        ('"', "writes as an escape"),
        ("\\xZZ", "hexadecimal"),
        ("(" * 40 + "a" + ")" * 40, "deeper than 16"),
        ("a" * 300, "shorten it to 256"),
    ],
)
def test_patterns_beyond_a_grammar_are_refused(pattern: str, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        read_pattern(pattern)


@given(st.text("ab01 .-_^$*+?(){}[]|\\dwsDWS,2:=!x", max_size=20))
def test_any_pattern_is_read_or_refused(text: str) -> None:
    try:
        pattern = read_pattern(text)
    except InvalidInputError:
        return
    re.compile(as_regex(pattern))


_ENDS = st.one_of(st.none(), st.decimals(-2000, 2000, places=2), st.integers(-50, 50).map(Decimal))


@given(_ENDS, _ENDS, st.booleans(), st.booleans(), st.decimals(-2000, 2000, places=3), st.integers(-60, 60))
def test_numbers_lie_within_their_bounds(
    low: Decimal | None, high: Decimal | None, low_open: bool, high_open: bool, number: Decimal, whole: int
) -> None:
    bounds = Bounds(low, high, low_open, high_open)

    def inside(value: Decimal) -> bool:
        above = low is None or (value > low if low_open else value >= low)
        return above and (high is None or (value < high if high_open else value <= high))

    pattern, broken = integers(bounds), numbers(bounds)
    matches = pattern is not None and bool(re.fullmatch(as_regex(pattern), str(whole)))
    assert matches == inside(Decimal(whole))
    near = [end + step for end in (low, high) if end is not None for step in (0, Decimal("0.001"), Decimal("-0.001"))]
    for value in (number, Decimal(whole), *near):
        matches = broken is not None and bool(re.fullmatch(as_regex(broken), f"{value:f}"))
        assert not matches or inside(value)
        if inside(value) and not (low_open or high_open) and value == value.normalize():
            assert matches or not re.fullmatch(r"-?\d+(\.\d*[1-9])?", f"{value:f}")
