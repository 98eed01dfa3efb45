"""What a chat's tools, or a JSON schema, ask of the text that answers it."""

from dataclasses import replace

from engines.generation import Chat, Feature, Options
from engines.language import HERMES
from engines.model_config import ToolSyntaxName
from engines.text_generator import Grammar, ToolSyntax
from service.errors import InvalidRequestError, UnsupportedError
from service.generating import MOST_TOOLS
from service.generation.options import cannot


def offered(chat: Chat) -> Chat:
    """The chat as the model is to see it: tools that it must not call are not shown."""
    return replace(chat, tools=()) if chat.tool_choice == "none" and not chat.must_call else chat


def tool_syntax(chat: Chat, syntax: ToolSyntaxName) -> ToolSyntax | None:
    """How the answer may call tools, None where it may not. Raises `InvalidRequestError`."""
    names = {tool.name for tool in chat.tools}
    if len(chat.tools) > MOST_TOOLS:
        raise InvalidRequestError(f"{len(chat.tools)} tools given; give at most {MOST_TOOLS}", "tools")
    if len(names) < len(chat.tools):
        raise InvalidRequestError("two tools have the same name; give each its own", "tools")
    if chat.must_call and chat.must_call not in names:
        raise InvalidRequestError(f"tool_choice names {chat.must_call!r}, which is not among the tools", "tool_choice")
    if chat.tool_choice == "required" and not names:
        raise InvalidRequestError("tool_choice is 'required', but there are no tools; give tools", "tool_choice")
    if not names:
        return None
    if syntax == "none":
        raise UnsupportedError("this model calls no tools; leave tools out, or set tool_choice to 'none'", "tools")
    return HERMES


def grammar(chat: Chat | None, options: Options, features: frozenset[Feature], backend: str) -> Grammar | None:
    """What the answer's text must look like. Raises `InvalidRequestError` where the engine cannot see to that."""
    tools = chat.tools if chat is not None else ()
    if options.json_schema:
        if tools:
            text = "response_format and tools exclude each other here; leave one out, or set tool_choice to 'none'"
            raise UnsupportedError(text, "response_format")
        return Grammar(json_schema=options.json_schema)
    if chat is None or not tools:
        return None
    forced = chat.tool_choice == "required" or bool(chat.must_call)
    if "tools" in features:
        allowed = tuple(tool for tool in tools if chat.must_call in ("", tool.name))
        return Grammar(tools=allowed, only_calls=forced, many=chat.parallel_tool_calls)
    for param, asked in (
        ("tool_choice", forced),
        ("parallel_tool_calls", not chat.parallel_tool_calls),
        ("strict", any(tool.strict for tool in tools)),
    ):
        if asked:
            raise cannot(param, backend)
    return None
