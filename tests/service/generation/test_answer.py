from collections.abc import Sequence
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.generation import Delta, Event, Finish, ToolCallDelta
from engines.language import Language
from engines.text_generator import ChosenToken, ToolSyntax
from service.generation.answer import AnswerPlan, AnswerText
from tests.engines.tiny_language import tiny_language

TOOLS = ToolSyntax()
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "家"}}\n</tool_call>'


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Language:
    return tiny_language(tmp_path_factory.mktemp("m"))


def answering(language: Language, plan: AnswerPlan) -> AnswerText:
    ids = count()
    return AnswerText(3, language, plan, lambda: f"call_{next(ids)}")


def tokens(language: Language, text: str) -> list[ChosenToken]:
    ids = language.encode(text, 1000, special=False).tolist()
    return [ChosenToken(number, -float(at), ((number, -0.5), (5, -1.5))) for at, number in enumerate(ids)]


def events(answer: AnswerText, steps: Sequence[Sequence[ChosenToken]], reason: str = "stop") -> list[Event]:
    found: list[Event] = []
    for step in steps:
        found += answer.push(step)
        if answer.stopped:
            return found + answer.finish("stop")
    return found + answer.finish("length" if reason == "length" else "stop")


def whole(found: Sequence[Event]) -> tuple[str, str, list[tuple[str, str]], list[str], str]:
    """Text, reasoning, calls, tokens with logprobs, and the reason of the finish."""
    deltas = [event for event in found if isinstance(event, Delta)]
    last = found[-1]
    assert isinstance(last, Finish)
    assert len(deltas) == len(found) - 1
    assert all(event.index == 3 for event in (*deltas, last))
    calls: dict[int, tuple[str, str]] = {}
    for call in (call for delta in deltas for call in delta.tool_calls):
        name, arguments = calls.get(call.index, ("", ""))
        calls[call.index] = (name + call.name, arguments + call.arguments)
    told = [logprob.token for delta in deltas for logprob in delta.logprobs]
    text, reasoning = "".join(delta.text for delta in deltas), "".join(delta.reasoning for delta in deltas)
    return text, reasoning, list(calls.values()), told, last.reason


def answered(language: Language, text: str, plan: AnswerPlan, reason: str = "stop") -> tuple[object, ...]:
    """The same for one token a step and for all at once, which is asserted."""
    one_by_one = answering(language, plan)
    found = whole(events(one_by_one, [[token] for token in tokens(language, text)], reason))
    at_once = answering(language, plan)
    assert whole(events(at_once, [tokens(language, text)], reason)) == found
    assert at_once.completion_tokens == one_by_one.completion_tokens
    assert at_once.reasoning_tokens == one_by_one.reasoning_tokens
    return found[:3] + found[4:]


@given(st.text("card 你😀\n", max_size=30))
def test_a_plain_answer_is_its_text(language: Language, text: str) -> None:
    assert answered(language, text, AnswerPlan()) == (text, "", [], "stop")
    assert answered(language, text, AnswerPlan(), "length") == (text, "", [], "length")


def test_what_a_step_brings_is_one_event_and_nothing_is_none(language: Language) -> None:
    answer = answering(language, AnswerPlan())
    first, *rest = tokens(language, "😀!")
    assert answer.push([first]) == []
    assert answer.push(rest) == [Delta(3, "😀!")]
    assert answer.finish("length") == [Finish(3, "length")]
    assert answer.completion_tokens == 1 + len(rest)


def test_an_incomplete_character_is_told_at_the_end(language: Language) -> None:
    assert whole(events(answering(language, AnswerPlan()), [tokens(language, "a😀")[:-1]]))[0] == "a\ufffd"


@pytest.mark.parametrize("plan", [AnswerPlan("Once "), AnswerPlan("Once ", stop=("zzz",))])
def test_the_echo_comes_first_and_once(language: Language, plan: AnswerPlan) -> None:
    assert answered(language, "more", plan) == ("Once more", "", [], "stop")
    assert answering(language, plan).finish("stop") == [Delta(3, "Once "), Finish(3, "stop")]


def test_stop_strings_are_not_looked_for_in_the_echo(language: Language) -> None:
    assert answered(language, "p it", AnswerPlan("stop sto", stop=("stop",))) == ("stop stop it", "", [], "stop")


def test_a_stop_string_ends_the_answer(language: Language) -> None:
    plan = AnswerPlan(stop=("lost 你", "zz"))
    assert answered(language, "the card was lost 你 and more", plan) == ("the card was ", "", [], "stop")
    assert answered(language, "the card was lost 好", plan, "length") == ("the card was lost 好", "", [], "length")
    assert answered(language, "the card was lost ", plan, "length") == ("the card was lost ", "", [], "length")


def test_after_a_stop_string_nothing_is_told_or_counted(language: Language) -> None:
    answer = answering(language, AnswerPlan(stop=("b",)))
    found = answer.push(tokens(language, "azbzz"))
    assert found == [Delta(3, "az")]
    assert answer.stopped
    assert answer.completion_tokens == 3
    assert answer.push(tokens(language, "zz")) == []
    assert answer.finish("stop") == [Finish(3, "stop")]


def test_reasoning_is_apart_and_counted(language: Language) -> None:
    text = "<think>the card</think>\n\nlost"
    assert answered(language, text, AnswerPlan(reasoning="expected")) == ("lost", "the card", [], "stop")
    answer = answering(language, AnswerPlan(reasoning="expected"))
    events(answer, [tokens(language, text)])
    assert answer.reasoning_tokens == len(tokens(language, "<think>the card</think>"))
    assert answered(language, "Hm</think>Yes", AnswerPlan(reasoning="begun")) == ("Yes", "Hm", [], "stop")


def test_an_answer_without_reasoning_counts_none(language: Language) -> None:
    answer = answering(language, AnswerPlan(reasoning="expected"))
    assert whole(events(answer, [tokens(language, "Yes")]))[0] == "Yes"
    assert answer.reasoning_tokens == 0


def test_stop_strings_do_not_end_reasoning_or_calls(language: Language) -> None:
    plan = AnswerPlan(stop=("at", "Hm"), tools=TOOLS, reasoning="begun")
    expected = ("So", "Hm", [("look", '{"at": "家"}')], "tool_calls")
    assert answered(language, f"Hm</think>So {CALL}", plan) == expected
    assert answered(language, f"Hm</think>So flat {CALL}", plan) == ("So fl", "Hm", [], "stop")


def test_calls_are_told_and_finish_the_answer(language: Language) -> None:
    plan = AnswerPlan(tools=TOOLS)
    call = ("look", '{"at": "家"}')
    assert answered(language, f"Wait. {CALL}\n{CALL}", plan) == ("Wait.", "", [call, call], "tool_calls")
    assert answered(language, CALL[:-20], plan, "length")[-1] == "length"
    assert answered(language, "no call", plan) == ("no call", "", [], "stop")


def test_pieces_of_a_call_in_one_step_are_one_delta(language: Language) -> None:
    (delta,) = answering(language, AnswerPlan(tools=TOOLS)).push(tokens(language, CALL))
    assert delta == Delta(3, tool_calls=(ToolCallDelta(0, '{"at": "家"}', "call_0", "look"),))


def test_text_held_as_a_stop_comes_before_the_call(language: Language) -> None:
    plan = AnswerPlan(stop=("Wait.!",), tools=TOOLS)
    assert answered(language, f"Wait.{CALL}", plan)[0] == "Wait."


def test_logprobs_are_told_with_the_text(language: Language) -> None:
    answer = answering(language, AnswerPlan(logprobs=1))
    emoji = tokens(language, "😀")
    assert answer.push(emoji[:-1]) == []
    (delta,) = answer.push(emoji[-1:])
    assert isinstance(delta, Delta)
    assert delta.text == "😀"
    assert b"".join(logprob.bytes for logprob in delta.logprobs) == "😀".encode()
    assert [logprob.logprob for logprob in delta.logprobs] == [-float(at) for at in range(len(emoji))]
    assert [len(logprob.top) for logprob in delta.logprobs] == [1] * len(emoji)
    assert delta.logprobs[0].top[0].bytes == delta.logprobs[0].bytes


def test_no_others_are_told_where_none_are_wanted(language: Language) -> None:
    (delta,) = answering(language, AnswerPlan(logprobs=0)).push(tokens(language, "c"))
    assert isinstance(delta, Delta)
    assert delta.logprobs[0].top == ()


@given(st.text("card 你😀\n", max_size=20))
def test_the_tokens_told_make_up_the_text(language: Language, text: str) -> None:
    found = events(answering(language, AnswerPlan(stop=("zz",), logprobs=0)), [[t] for t in tokens(language, text)])
    told = shown = b""
    for delta in found[:-1]:
        assert isinstance(delta, Delta)
        told += b"".join(logprob.bytes for logprob in delta.logprobs)
        shown += delta.text.encode()
        assert told.startswith(shown) or shown.startswith(told)
    assert told == shown == text.encode()


def test_tokens_behind_a_stop_string_are_not_told(language: Language) -> None:
    text, *_, told, _ = whole(
        events(answering(language, AnswerPlan(stop=("zq",), logprobs=0)), [tokens(language, "abzqab")])
    )
    assert text == "ab"
    assert "".join(told) == "ab"


def test_a_token_that_is_cut_is_told(language: Language) -> None:
    card = tokens(language, " card")
    assert len(card) == 1
    text, *_, told, _ = whole(events(answering(language, AnswerPlan(stop=("rd",), logprobs=0)), [card]))
    assert (text, told) == (" ca", [" card"])


def test_every_token_is_told_but_not_before_it_is_decided(language: Language) -> None:
    plan = AnswerPlan("", ("zq",), TOOLS, "begun", 0)
    text = f"Hm</think>So {CALL}"
    *_, told, _ = whole(events(answering(language, plan), [[token] for token in tokens(language, text)]))
    assert told == [language.token_text(token.id) for token in tokens(language, text)]


PARTS = [
    "<think>",
    "</think>",
    " ",
    "a",
    "card",
    "zq",
    "z",
    "你",
    "<tool_call>",
    '\n{"name": "f", "arguments": {',
    '"a": "b"',
    "}}",
    CALL,
]
PLANS = [
    AnswerPlan(stop=("zq", "card a")),
    AnswerPlan(tools=TOOLS, reasoning="expected"),
    AnswerPlan("echo", ("zq", "aa"), TOOLS, "begun", 0),
]


@given(st.lists(st.sampled_from(PARTS), max_size=10).map("".join), st.sampled_from(PLANS), st.data())
def test_steps_do_not_change_an_answer(language: Language, text: str, plan: AnswerPlan, data: st.DataObject) -> None:
    every = tokens(language, text)
    borders = sorted(data.draw(st.sets(st.integers(0, len(every)), max_size=6)) | {0, len(every)})
    steps = [every[start:end] for start, end in pairwise(borders)]
    found = whole(events(answering(language, plan), steps))
    assert found == whole(events(answering(language, plan), [[token] for token in every]))


def test_nothing_but_the_answer_is_kept(language: Language, tmp_path: Path) -> None:
    """Answers of one language do not disturb each other."""
    one, two = answering(language, AnswerPlan()), answering(language, AnswerPlan())
    first, *rest = tokens(language, "😀")
    one.push([first])
    two.push(tokens(language, "a"))
    assert one.push(rest) == [Delta(3, "😀")]
