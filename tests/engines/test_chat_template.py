from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.chat_template import MOST_CHARACTERS, ChatTemplate
from engines.chat_words import message_words, told_in_text, tool_words
from engines.errors import InvalidInputError, ModelLoadError
from engines.generation import Chat, Message, Tool, ToolCall
from engines.text_generator import ToolSyntax

LOOK = Tool("look", "Looks.", {"type": "object"})
CALL = ToolCall("c1", "look", '{"at": "家"}')


def rendered(source: str, **variables: object) -> str:
    return ChatTemplate(source, "here", lambda: datetime(2024, 5, 6)).render(variables)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for i in range(9) %}\n  {% if i == 3 %}{% break %}{% endif %}\n{{ i }}\n{% endfor %}", "0\n1\n2\n"),
        ("{{ {'b': '<家>', 'a': 1} | tojson }}", '{"b": "<家>", "a": 1}'),
        ("{{ [1] | tojson(indent=2) }}", "[\n  1\n]"),
        ("{{ strftime_now('%d %b %Y') }}", "06 May 2024"),
        ("a{% generation %}{% set x = 1 %}b{% endgeneration %}{{ x }}", "ab"),
        ("{% set ns = namespace(n=0) %}{% set ns.n = 2 %}{{ ns.n }}", "2"),
        ("{{ 3 * 4 }}{{ 2 ** 10 }}{{ 'ab' * 2 }}", "121024abab"),
    ],
)
def test_what_templates_of_hugging_face_use(source: str, expected: str) -> None:
    assert rendered(source) == expected


def test_as_transformers_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_TORCH", "0")
    transformers = pytest.importorskip("transformers.utils.chat_template_utils")
    source = (
        "{%- if tools %}\n    {{- tools | tojson(indent=1) }}\n{% endif %}\n  {%- for m in messages -%}\n"
        "{{ '<' + m.role + '>' }}\n {% if m.tool_calls %}{{ m.tool_calls[0].function.arguments.at }}{% endif %}\n"
        "{{ m.content | trim }}{% endfor %}{% if add_generation_prompt %}go{% endif %}\n\n"
    )
    messages = message_words([Message("user", " hi "), Message("assistant", "", tool_calls=(CALL,))])
    (expected,), _ = transformers.render_jinja_template(
        [messages], tools=tool_words([LOOK]), chat_template=source, add_generation_prompt=True
    )
    assert rendered(source, messages=messages, tools=tool_words([LOOK]), add_generation_prompt=True) == expected


def test_a_template_refuses_in_its_own_words() -> None:
    with pytest.raises(InvalidInputError, match="refuses this chat: roles must alternate"):
        rendered("{{ raise_exception('roles must alternate') }}")


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__.json }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ self.__init__.__globals__ }}",
        "{{ '%s' | attr('__class__') }}{{ '{0.__class__.__mro__}'.format('') }}",
        "{% for i in range(100001) %}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ 1000000000 * [1] }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ messages[0].content + 1 }}",
        "{{ nothing.here }}",
        "{{ 1 / 0 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include 'etc' %}",
    ],
)
def test_what_a_template_may_not_do_fails_alone(source: str) -> None:
    with pytest.raises(InvalidInputError, match=r"template \(here\) cannot show this chat"):
        rendered(source, messages=[{"role": "user", "content": "x"}])


def test_what_is_rendered_is_bounded() -> None:
    with pytest.raises(InvalidInputError, match=f"longer than {MOST_CHARACTERS} characters"):
        rendered("{% for i in range(100000) %}{{ m }}{% endfor %}", m="x" * 1000)


@pytest.mark.parametrize("source", ["{% if %}", "{{", "{% unknown %}", "{% generation %}", "{{ a | nofilter }}"])
def test_a_template_that_does_not_compile_is_refused(source: str) -> None:
    with pytest.raises(ModelLoadError, match=r"template in here, line 1 does not compile: .*; mend it"):
        ChatTemplate(source, "here")


def test_templates_that_know_tools() -> None:
    assert ChatTemplate("{% if tools %}{% endif %}", "here").knows_tools
    assert not ChatTemplate("tools {% set tools = 1 %}{{ tools }}", "here").knows_tools


@given(st.text(max_size=40))
def test_content_is_never_run(content: str) -> None:
    assert rendered("{{ messages[0].content }}", messages=message_words([Message("user", content)])) == content
    assert rendered("{{ c }}", c="{{ 7 * 7 }}{% raw %}") == "{{ 7 * 7 }}{% raw %}"


def test_messages_in_the_words_of_templates() -> None:
    messages = [
        Message("assistant", "Wait.", tool_calls=(CALL, ToolCall("c2", "look", "not json")), reasoning="Hm."),
        Message("tool", "a house", name="look", tool_call_id="c1"),
    ]
    first, second = message_words(messages)
    assert first["reasoning_content"] == "Hm."
    assert first["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": {"at": "家"}}},
        {"id": "c2", "type": "function", "function": {"name": "look", "arguments": "not json"}},
    ]
    assert second == {"role": "tool", "content": "a house", "name": "look", "tool_call_id": "c1"}


def test_tools_are_told_to_templates_that_know_none() -> None:
    chat = Chat((Message("system", "Be kind."), Message("user", "hi")), (LOOK,))
    system, user = told_in_text(chat, ToolSyntax())
    assert system.content.startswith("Be kind.\n\n# Tools")
    assert '{"name": "look", "description": "Looks.", "parameters": {"type": "object"}}' in system.content
    assert "<tool_call>\n{" in system.content
    assert user == Message("user", "hi")
    (made, _) = told_in_text(Chat((Message("user", "hi"),), (LOOK,)), ToolSyntax())
    assert made.role == "system"
    assert made.content.startswith("# Tools")


def test_calls_and_answers_are_told_in_text() -> None:
    chat = Chat(
        (
            Message("user", "hi"),
            Message("assistant", "Wait.", tool_calls=(CALL,)),
            Message("tool", "a house", tool_call_id="c1"),
            Message("tool", "a door", tool_call_id="c2"),
            Message("user", "so?"),
        )
    )
    assert told_in_text(chat, ToolSyntax()) == (
        Message("user", "hi"),
        Message("assistant", 'Wait.\n<tool_call>\n{"name": "look", "arguments": {"at": "家"}}\n</tool_call>'),
        Message("user", "<tool_response>\na house\n</tool_response>\n<tool_response>\na door\n</tool_response>"),
        Message("user", "so?"),
    )
