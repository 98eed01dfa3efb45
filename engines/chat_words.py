"""A chat as the variables of a chat template, in Hugging Face's words; and tools for templates that do not know any."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from engines.generation import Chat, Message, Tool
from engines.text_generator import ToolSyntax

Words = dict[str, object]


def message_words(messages: Sequence[Message]) -> list[Words]:
    """Messages as templates get them: a tool call's arguments are parsed, where they are JSON."""
    return [_message(message) for message in messages]


def tool_words(tools: Sequence[Tool]) -> list[Words]:
    """Tools as templates get them."""
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def told_in_text(chat: Chat, syntax: ToolSyntax) -> tuple[Message, ...]:
    """The messages of a chat for a template that knows no tools: they are explained in the system message, in Hermes'
    way, and calls and their answers are written into the text."""
    messages = tuple(_in_turns(chat.messages, syntax))
    if not chat.tools:
        return messages
    section = _section(chat.tools, syntax)
    if messages and messages[0].role == "system":
        first = messages[0]
        return replace(first, content=f"{first.content}\n\n{section}".lstrip()), *messages[1:]
    return Message("system", section), *messages


def _message(message: Message) -> Words:
    words: Words = {"role": message.role, "content": message.content}
    if message.name:
        words["name"] = message.name
    if message.tool_call_id:
        words["tool_call_id"] = message.tool_call_id
    if message.reasoning:
        words["reasoning_content"] = message.reasoning
    if message.tool_calls:
        words["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _parsed(call.arguments)}}
            for call in message.tool_calls
        ]
    return words


def _parsed(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _function(tool: Tool) -> Mapping[str, object]:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _section(tools: Sequence[Tool], syntax: ToolSyntax) -> str:
    signatures = "\n".join(json.dumps(words, ensure_ascii=False) for words in tool_words(tools))
    form = '{"name": <function name>, "arguments": <arguments, a JSON object>}'
    return (
        "# Tools\n\nYou can call functions to help with the user's request. Their signatures are between these tags:\n"
        f"<tools>\n{signatures}\n</tools>\n\nTo call a function, write a JSON object between these tags, once a call:\n"
        f"{syntax.begin}{form}{syntax.end}"
    )


def _in_turns(messages: Sequence[Message], syntax: ToolSyntax) -> Iterator[Message]:
    """Answers of tools that follow each other become one message of the user: templates want them in turns."""
    for is_tool, run in groupby(messages, lambda message: message.role == "tool"):
        if is_tool:
            yield Message("user", "\n".join(f"<tool_response>\n{answer.content}\n</tool_response>" for answer in run))
        else:
            yield from (_with_calls(message, syntax) for message in run)


def _with_calls(message: Message, syntax: ToolSyntax) -> Message:
    if not message.tool_calls:
        return message
    calls = [
        f'{syntax.begin}{{"name": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}{syntax.end}'
        for call in message.tool_calls
    ]
    return replace(message, content="\n".join([message.content, *calls] if message.content else calls), tool_calls=())
