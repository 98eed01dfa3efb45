"""Grammars as the real compiler takes them: none breaks the pipeline, and what is written fits the schema."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from engines.errors import InvalidInputError
from engines.generation import Tool
from engines.json_schema import read_json_schema
from engines.language import Language, open_language
from engines.openvino_genai import OpenVinoGenAI
from engines.openvino_genai_grammar import grammar_of_schema, quoted
from engines.openvino_genai_request import grammar_text
from engines.text_generator import Grammar, Sampling, ToolSyntax
from tests.engines.json_schemas import fits, schemas
from tests.engines.openvino_genai_case import ask, model_options, open_small, weights

weights()

PAYMENT = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 5000},
        "currency": {"enum": ["EUR", "USD"]},
        "on": {"type": "string", "format": "date"},
        "parts": {"type": "array", "items": {"type": "integer", "minimum": -5, "maximum": 120}, "maxItems": 3},
        'odd "name" \\': {"type": ["boolean", "null"]},
    },
    "required": ["amount", 'odd "name" \\'],
}
TOOLS = (
    Tool("get_balance", parameters={"type": "object", "properties": {"n": {"type": "integer", "minimum": 7}}}),
    Tool("block_card"),
    Tool("loose", parameters={"type": "object", "oneOf": [{}]}),
)
CALL = re.compile(r'<tool_call>\n(\{"name": "(get_balance|block_card|loose)", "arguments": .*\})\n</tool_call>')


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenVinoGenAI, Language]]:
    folder = tmp_path_factory.mktemp("models")
    generator = open_small(folder / "m", genai__max_num_batched_tokens="256")
    yield generator, open_language(model_options(folder / "l").config, folder / "m", "1")
    generator.close()


def write(opened: tuple[OpenVinoGenAI, Language], grammar: Grammar, seed: int, most: int = 250) -> tuple[str, str]:
    """Text made at random, and how it ended."""
    generator, language = opened
    prompt = language.encode("Here is the JSON:\n", 100, special=False)
    answer = ask(generator, prompt, Sampling(most, 1.0, seed=seed), grammar)
    stream = language.stream()
    return "".join(map(stream.push, answer.tokens)) + stream.flush(), answer.finish


@pytest.mark.parametrize("seed", range(4))
def test_an_answer_fits_its_schema(opened: tuple[OpenVinoGenAI, Language], seed: int) -> None:
    text, finish = write(opened, Grammar(json.dumps(PAYMENT)), seed)
    assert finish == "stop"
    assert fits(PAYMENT, json.loads(text)), text
    assert "\n" not in text


@pytest.mark.parametrize("text", ["éa", "Rückgabe", "ÿ9é", "±1", "日a", "😀a"])
def test_letters_behind_others_than_ascii_stay_themselves(opened: tuple[OpenVinoGenAI, Language], text: str) -> None:
    for schema in ({"enum": [text]}, {"type": "string", "pattern": f"^{text}$"}):
        written, finish = write(opened, Grammar(json.dumps(schema)), 1)
        assert (json.loads(written, strict=False), finish) == (text, "stop")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(schemas())
def test_no_schema_that_is_allowed_breaks_the_pipeline(opened: tuple[OpenVinoGenAI, Language], schema: Any) -> None:
    try:
        text, finish = write(opened, Grammar(json.dumps(schema)), 1, 16)
    except InvalidInputError:
        return
    assert finish == "length" or fits(schema, json.loads(text)), text


def test_only_calls_are_calls(opened: tuple[OpenVinoGenAI, Language]) -> None:
    for seed in range(3):
        text, finish = write(opened, Grammar(tools=TOOLS, only_calls=True, many=False), seed)
        found = CALL.fullmatch(text)
        assert finish == "stop"
        assert found, text
        arguments = json.loads(found[1])["arguments"]
        assert arguments.get("n", 7) >= 7
        assert found[2] != "block_card" or arguments == {}


def test_many_calls_stand_on_lines_of_their_own(opened: tuple[OpenVinoGenAI, Language]) -> None:
    text, _ = write(opened, Grammar(tools=TOOLS[1:2], only_calls=True), 1, 120)
    one = '<tool_call>\n{"name": "block_card", "arguments": {}}\n</tool_call>'
    assert text.startswith(f"{one}\n{one}\n")


def test_text_is_free_until_a_call_begins(
    opened: tuple[OpenVinoGenAI, Language], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small model begins no call by itself, so a common word takes the place of the sign that begins one."""
    monkeypatch.setattr("engines.openvino_genai.SYNTAX", ToolSyntax("the ", " (done)"))
    written = [write(opened, Grammar(tools=TOOLS[1:2], many=False), seed, 80)[0] for seed in range(6)]
    called = [text for text in written if "the" in text]
    assert called
    form = re.compile(r'(?:(?!the).)*the \{"name": "block_card", "arguments": \{\}\} \(done\)', re.DOTALL)
    assert [text for text in called if not form.fullmatch(text)] == []


def test_any_text_can_stand_in_a_grammar() -> None:
    assert quoted('a"b\\c\nd漢') == '"a\\"b\\\\c\\U0000000A" "d\\U00006F22" ""'


def test_equal_parts_are_written_once() -> None:
    parts = {name: {"type": "string", "maxLength": 5} for name in "abcdef"}
    grammar = grammar_of_schema(read_json_schema(json.dumps({"type": "object", "properties": parts})))
    assert grammar.count("{0,5}") == 1


def test_tools_that_cost_too_much_together_are_held_to_less() -> None:
    """A word of 10 characters costs 10 of the 16 that all tools may; the second one's is free, or refused if strict."""

    def tool(name: str, most: int, *, strict: bool) -> Tool:
        word = {"type": "string", "maxLength": most}
        return Tool(name, parameters={"type": "object", "properties": {"word": word}}, strict=strict)

    loose = grammar_text(Grammar(tools=(tool("a", 10, strict=True), tool("b", 11, strict=False))), ToolSyntax())
    assert "{0,10}" in loose
    assert "{0,11}" not in loose
    with pytest.raises(InvalidInputError, match="tool 'b': its schema and those before it are together more"):
        grammar_text(Grammar(tools=(tool("a", 10, strict=True), tool("b", 11, strict=True))), ToolSyntax())
    with pytest.raises(InvalidInputError, match="300 tools are too many"):
        grammar_text(Grammar(tools=(Tool("f"),) * 300), ToolSyntax())
