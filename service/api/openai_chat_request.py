"""A chat request from its wire form to what the gateway generates."""

from collections.abc import Sequence
from dataclasses import replace

from engines.generation import Chat, GenerationCall, Message, Options, Role, ToolCall
from service.api.generation_fields import logit_bias_of, options_of
from service.api.json_schemas import schema_text
from service.api.openai_chat_messages import AssistantCall, ChatMessage, ChatRequest, ContentPart
from service.api.openai_tools import tool_choice_of, tools_of
from service.errors import InvalidRequestError, UnsupportedError

_MOST_MESSAGES = 4096
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_ANY_OBJECT = '{"type":"object"}'


def chat_call(request: ChatRequest) -> GenerationCall:
    """What is asked for; raises `InvalidRequestError` with the field at fault as `param`."""
    _check_count(request.messages)
    if request.store:
        raise UnsupportedError("store is not served: no answer is kept; use false", "store")
    tools = tools_of(request)
    choice, must_call = tool_choice_of(request, tools)
    messages = tuple([_message(message, f"messages[{index}]") for index, message in enumerate(request.messages)])
    chat = Chat(messages, tools, choice, must_call, request.parallel_tool_calls is not False)
    return GenerationCall((chat,), _options(request))


def _check_count(messages: Sequence[ChatMessage]) -> None:
    if not messages:
        raise InvalidRequestError("messages is empty; send at least one message", "messages")
    parts = sum(len(message.content) for message in messages if isinstance(message.content, list))
    for count, kind in ((len(messages), "messages"), (parts, "parts")):
        if count > _MOST_MESSAGES:
            raise InvalidRequestError(f"messages has {count} {kind}, the most is {_MOST_MESSAGES}", "messages")


def _options(request: ChatRequest) -> Options:
    return replace(
        options_of(request),
        n=request.n or 1,
        max_tokens=_max_tokens(request),
        logit_bias=logit_bias_of(request),
        logprobs=_logprobs(request),
        json_schema=_schema(request),
    )


def _max_tokens(request: ChatRequest) -> int | None:
    old, new = request.max_tokens, request.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise InvalidRequestError(
            f"max_tokens is {old} and max_completion_tokens {new}; they mean the same, send one", "max_tokens"
        )
    return old if new is None else new


def _logprobs(request: ChatRequest) -> int | None:
    if request.logprobs:
        return request.top_logprobs or 0
    if request.top_logprobs is not None:
        raise InvalidRequestError("top_logprobs needs logprobs to be true", "top_logprobs")
    return None


def _schema(request: ChatRequest) -> str:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return ""
    if wanted.type == "json_object":
        return _ANY_OBJECT
    if wanted.json_schema is None or not bytes(wanted.json_schema.schema):
        raise InvalidRequestError(
            "a response_format of type json_schema needs json_schema with name and schema", "response_format"
        )
    return schema_text(wanted.json_schema.schema, "response_format.json_schema.schema")


def _message(message: ChatMessage, where: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        hint = "; use role tool" if message.role == "function" else ""
        raise InvalidRequestError(
            f"{where}.role is {message.role[:40]!r}{hint}; roles are {', '.join(_ROLES)}", f"{where}.role"
        )
    _check_fields(message, role, where)
    return Message(
        role,
        _content(message, where),
        message.name or "",
        tuple([_tool_call(call) for call in message.tool_calls or ()]),
        message.tool_call_id or "",
        message.reasoning_content or "",
    )


def _check_fields(message: ChatMessage, role: Role, where: str) -> None:
    """Refuses fields that another role has, and misses those that this one must have."""
    if role != "assistant":
        _refuse(message.tool_calls, "assistant", f"{where}.tool_calls")
        _refuse(message.reasoning_content, "assistant", f"{where}.reasoning_content")
    if role != "tool":
        _refuse(message.tool_call_id, "tool", f"{where}.tool_call_id")
    elif not message.tool_call_id:
        raise InvalidRequestError(f"{where} needs tool_call_id: the call that it answers", f"{where}.tool_call_id")
    if bytes(message.annotations) not in (b"", b"null", b"[]"):
        raise UnsupportedError(f"{where}.annotations are not served; leave them out", f"{where}.annotations")
    if message.content is None and not message.tool_calls:
        raise InvalidRequestError(f"{where} has no content; send a text", f"{where}.content")


def _refuse(value: object, role: str, param: str) -> None:
    if value:
        raise InvalidRequestError(f"{param} is only for role {role}; leave it out", param)


def _content(message: ChatMessage, where: str) -> str:
    """The text; parts of it are lines of their own, as chat templates that know no parts have them elsewhere."""
    content = message.content
    return content or "" if content is None or isinstance(content, str) else _joined(content, where)


def _joined(parts: Sequence[ContentPart], where: str) -> str:
    return "\n".join([_text(part, f"{where}.content[{index}]") for index, part in enumerate(parts)])


def _text(part: ContentPart, where: str) -> str:
    if part.type != "text":
        raise UnsupportedError(f"{where} is of type {part.type[:40]!r}, which is not served; send text", where)
    if part.text is None or any(bytes(raw) for raw in (part.refusal, part.image_url, part.input_audio, part.file)):
        raise InvalidRequestError(f"{where} is of type text; it needs the field text and no other", where)
    return part.text


def _tool_call(call: AssistantCall) -> ToolCall:
    return ToolCall(call.id, call.function.name, call.function.arguments)
