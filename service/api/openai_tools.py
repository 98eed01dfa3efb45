"""The tools of a chat request, and which of them the model may or must call."""

from engines.generation import Tool, ToolChoice
from service.api.json_schemas import decode_schema
from service.api.openai_chat_messages import ChatRequest, NamedTool, ToolMessage
from service.errors import InvalidRequestError, UnsupportedError
from service.generating import LONGEST_SCHEMA, MOST_TOOLS


def tools_of(request: ChatRequest) -> tuple[Tool, ...]:
    """The tools; raises `InvalidRequestError`."""
    given = request.tools or []
    if len(given) > MOST_TOOLS:
        raise InvalidRequestError(f"tools has {len(given)} tools, the most is {MOST_TOOLS}", "tools")
    size = sum(len(bytes(item.function.parameters)) for item in given if item.function)
    if size > LONGEST_SCHEMA:
        raise InvalidRequestError(f"the schemas in tools have {size} bytes, the most is {LONGEST_SCHEMA}", "tools")
    tools = tuple([_tool(item, f"tools[{index}]") for index, item in enumerate(given)])
    names = [tool.name for tool in tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidRequestError(
                f"tools has {name!r} twice; a name may stand for one tool only", f"tools[{index}]"
            )
    return tools


def _tool(item: ToolMessage, where: str) -> Tool:
    if item.type != "function":
        raise UnsupportedError(f"{where} is of type {item.type[:40]!r}, which is not served; use function", where)
    function = item.function
    if function is None or bytes(item.custom):
        raise InvalidRequestError(f"{where} is of type function; it needs the field function and no other", where)
    raw = function.parameters
    given = bytes(raw) not in (b"", b"null")
    parameters = decode_schema(raw, f"{where}.function.parameters") if given else {}
    return Tool(function.name, function.description or "", parameters, function.strict or False)


def tool_choice_of(request: ChatRequest, tools: tuple[Tool, ...]) -> tuple[ToolChoice, str]:
    """Whether tools are to be called, and the name of the one that must be; raises `InvalidRequestError`."""
    choice = request.tool_choice
    if isinstance(choice, NamedTool):
        return "required", _named(choice, tools)
    if choice == "required" and not tools:
        raise InvalidRequestError("tool_choice is required, but there are no tools; send some", "tool_choice")
    return choice or "auto", ""


def _named(choice: NamedTool, tools: tuple[Tool, ...]) -> str:
    if choice.type == "allowed_tools":
        raise UnsupportedError("tool_choice.allowed_tools is not served; send only those tools", "tool_choice")
    if choice.type != "function" or choice.function is None:
        raise InvalidRequestError('tool_choice must be {"type": "function", "function": {"name": ...}}', "tool_choice")
    name = choice.function.name
    if all(tool.name != name for tool in tools):
        known = ", ".join(tool.name for tool in tools) or "none"
        raise InvalidRequestError(f"tool_choice names {name[:64]!r}; the tools are {known}", "tool_choice")
    return name
