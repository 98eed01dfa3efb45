import json
from collections.abc import Callable, Sequence
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.generation import ToolCallDelta
from engines.text_generator import ToolSyntax
from service.generation.reasoning import Reasoning, ReasoningSplitter
from service.generation.stops import StopFinder
from service.generation.tool_calls import ToolCallParser


def cut(text: str, at: Sequence[int]) -> list[str]:
    """The text in pieces."""
    borders = [0, *sorted(n % (len(text) + 1) for n in at), len(text)]
    return [text[start:end] for start, end in pairwise(borders)]


CUTS = st.lists(st.integers(0, 500), max_size=12)


def stopped(stops: Sequence[str], pieces: Sequence[str]) -> tuple[str, bool]:
    finder = StopFinder(stops)
    shown = ""
    for piece in pieces:
        shown += finder.push(piece)
        if finder.stopped:
            return shown, True
    return shown + finder.flush(), False


STOPS = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3)


@given(st.text("abc", max_size=30), STOPS, CUTS)
def test_a_stop_string_ends_the_text_wherever_borders_lie(text: str, stops: list[str], at: list[int]) -> None:
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    first = min(ends, default=None)
    met = [stop for stop in stops if first is not None and text[:first].endswith(stop)]
    expected = text if first is None else text[: first - max(map(len, met))]
    assert stopped(stops, cut(text, at)) == (expected, first is not None)


@given(st.text("abc", max_size=30), STOPS)
def test_no_more_is_held_back_than_must_be(text: str, stops: list[str]) -> None:
    finder = StopFinder(stops)
    shown = ""
    for at, character in enumerate(text, start=1):
        shown += finder.push(character)
        if finder.stopped:
            return
        held = text[len(shown) : at]
        assert len(held) == finder.held
        assert not held or any(stop.startswith(held) for stop in stops)


def thought(reasoning: Reasoning, pieces: Sequence[str]) -> tuple[str, str]:
    splitter = ReasoningSplitter(reasoning)
    pairs = [*map(splitter.push, pieces), splitter.flush()]
    return "".join(pair[0] for pair in pairs), "".join(pair[1] for pair in pairs)


@pytest.mark.parametrize(
    ("reasoning", "text", "expected"),
    [
        ("expected", "<think>\nHm, 1 < 2.\n\n</think>\n\nYes.\n", ("Hm, 1 < 2.", "Yes.\n")),
        ("expected", " \n<think>Hm</think>Yes", ("Hm", "Yes")),
        ("expected", "Yes <think>no</think>", ("", "Yes <think>no</think>")),
        ("expected", "<thin ice", ("", "<thin ice")),
        ("expected", " <think", ("", " <think")),
        ("expected", "<think>Hm </thi", ("Hm </thi", "")),
        ("expected", "<think></think>Yes", ("", "Yes")),
        ("expected", "", ("", "")),
        ("begun", "Hm</think>Yes</think>", ("Hm", "Yes</think>")),
        ("begun", "\n<think>\nHm</think> Yes", ("Hm", "Yes")),
        ("begun", "Hm, and so", ("Hm, and so", "")),
        ("begun", "</think>Yes", ("", "Yes")),
    ],
)
@given(at=CUTS)
def test_reasoning_is_split_off(reasoning: Reasoning, text: str, expected: tuple[str, str], at: list[int]) -> None:
    assert thought(reasoning, cut(text, at)) == expected
    assert thought(reasoning, list(text)) == expected


TAGS = st.lists(st.sampled_from(["<think>", "</think>", "<", "</thi", " ", "\n", "a", "b c"]), max_size=12).map("".join)


@given(TAGS, CUTS, st.sampled_from(["expected", "begun"]))
def test_reasoning_does_not_depend_on_borders(text: str, at: list[int], reasoning: Reasoning) -> None:
    assert thought(reasoning, cut(text, at)) == thought(reasoning, [text])


Seen = list[str | tuple[str, str]]
"""Free texts, and calls as name and arguments, in order."""


def calls_in(pieces: Sequence[str]) -> Seen:
    parser = ToolCallParser(ToolSyntax(), numbers())
    seen: Seen = []
    for found in (*map(parser.push, pieces), parser.flush()):
        for piece in found:
            note(seen, piece)
    assert parser.held == 0
    return seen


def note(seen: Seen, piece: str | ToolCallDelta) -> None:
    last = seen[-1] if seen else None
    if isinstance(piece, str):
        seen.append(seen.pop() + piece if isinstance(last, str) else piece)  # type: ignore[operator]
    elif piece.name:
        assert piece.index == sum(isinstance(one, tuple) for one in seen)
        assert piece.id == f"call_{piece.index}"
        seen.append((piece.name, piece.arguments))
    else:
        assert isinstance(last, tuple)
        seen[-1] = (last[0], last[1] + piece.arguments)


def numbers() -> Callable[[], str]:
    ids = count()
    return lambda: f"call_{next(ids)}"


LOOK = '<tool_call>\n{"name": "look", "arguments": {"at": "家 }\\" ]"}}\n</tool_call>'
LOOKED = ("look", '{"at": "家 }\\" ]"}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no call, 1 < 2 \n", ["no call, 1 < 2 \n"]),
        (LOOK, [LOOKED]),
        (f"Wait.\n\n{LOOK}\n{LOOK}\n", ["Wait.", LOOKED, LOOKED]),
        (f"{LOOK} So.", [LOOKED, " So."]),
        ('<tool_call>{"name":"f","arguments":{}}</tool_call>', [("f", "{}")]),
        ('<tool_call>{"name":"f","arguments":{"a":[{"b":1}]} }</tool_call>', [("f", '{"a":[{"b":1}]}')]),
        ('<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>', [("f", '{"a": 1}')]),
        ('<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', [("f", '{"a": 1}')]),
        ('<tool_call>{"name": "f"}</tool_call>', [("f", "{}")]),
        ('<tool_call>{"name": "f"}', [("f", "{}")]),
        ('<tool_call>{"name": "f\\u0041", "arguments": {}}</tool_call>', [("fA", "{}")]),
        ('<tool_call>\n{"name": "f", "arguments": {"a": "<tool', [("f", '{"a": "<tool')]),
        ('<tool_call>\n{"name": "f", "arguments": {"a": 1\n</tool_call> x', [("f", '{"a": 1\n'), " x"]),
        (
            '<tool_call>\n{"name": "f", "arguments": {"a": "</tool_call>"}}</tool_call>',
            [("f", '{"a": "</tool_call>"}')],
        ),
        ('<tool_call>\n{"name": "f", "arguments": {}}', [("f", "{}")]),
        ("Write <tool_call> to call", ["Write <tool_call> to call"]),
        ("a <tool_call>\n{not json}\n</tool_call> b", ["a <tool_call>\n{not json}\n</tool_call> b"]),
        ('a <tool_call>{"name": 3}</tool_call>', ['a <tool_call>{"name": 3}</tool_call>']),
        ('<tool_call>{"name": "f", "argu', ['<tool_call>{"name": "f", "argu']),
        (f"<tool_call><tool_call>{LOOK}", ["<tool_call><tool_call>", LOOKED]),
        (
            '<tool_call>{"name": "</tool_call>", "arguments": {}}',
            ['<tool_call>{"name": "</tool_call>", "arguments": {}}'],
        ),
        ("a <tool_cal", ["a <tool_cal"]),
        ("", []),
    ],
)
@given(at=CUTS)
def test_calls_are_taken_out(text: str, expected: Seen, at: list[int]) -> None:
    assert calls_in(cut(text, at)) == expected
    assert calls_in(list(text)) == expected


PARTS = [
    "<tool_call>",
    "</tool_call>",
    "\n",
    " ",
    '{"name": "f"',
    ', "arguments": {',
    '"a": "',
    "\\",
    '"',
    "}",
    "x",
    "<",
    LOOK,
]


@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join), CUTS)
def test_calls_do_not_depend_on_borders(text: str, at: list[int]) -> None:
    assert calls_in(cut(text, at)) == calls_in([text]) == calls_in(list(text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3), st.booleans(), CUTS)
def test_arguments_come_exactly_as_written(arguments: dict[str, object], escaped: bool, at: list[int]) -> None:
    written = json.dumps(arguments, ensure_ascii=escaped)
    text = f'<tool_call>\n{{"name": "f", "arguments": {written}}}\n</tool_call>'
    assert calls_in(cut(text, at)) == [("f", written)]


def test_arguments_flow_while_they_are_written() -> None:
    parser = ToolCallParser(ToolSyntax(), numbers())
    assert parser.push('<tool_call>\n{"name": "f", "arguments": {"a') == [
        ToolCallDelta(0, id="call_0", name="f"),
        ToolCallDelta(0, '{"a'),
    ]
    assert parser.push('": 1') == [ToolCallDelta(0, '": 1')]
    assert parser.push("}}\n") == [ToolCallDelta(0, "}")]
    assert parser.push("</tool_call>") == []
