"""The body of POST /v1/chat/completions as it is on the wire."""

from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from service.api.generation_fields import OpenAIFields, Tokens
from service.api.json_faults import decode_json

Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
NOTHING = Raw(b"")
"""Of a field that was left out."""


class ContentPart(Struct, forbid_unknown_fields=True):
    """A part of a message. Only `text` is served; the others are known to be refused by name."""

    type: str
    text: str | None = None
    refusal: Raw = NOTHING
    image_url: Raw = NOTHING
    input_audio: Raw = NOTHING
    file: Raw = NOTHING


class CalledFunction(Struct, forbid_unknown_fields=True):
    """What the model called; `arguments` is JSON as the model wrote it."""

    name: str
    arguments: str = ""


class AssistantCall(Struct, forbid_unknown_fields=True):
    """A call that the model made in an earlier turn."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class ChatMessage(Struct, forbid_unknown_fields=True):
    """One message, of any role. The last four are what clients send back from an answer, empty."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[AssistantCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: Raw = NOTHING


class FunctionTool(Struct, forbid_unknown_fields=True):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: Name
    description: str | None = None
    parameters: Raw = NOTHING
    strict: bool | None = None


class ToolMessage(Struct, forbid_unknown_fields=True):
    """A tool. `custom` is known to be refused by name."""

    type: str
    function: FunctionTool | None = None
    custom: Raw = NOTHING


class NamedFunction(Struct, forbid_unknown_fields=True):
    """The name of a function."""

    name: str


class NamedTool(Struct, forbid_unknown_fields=True):
    """The tool that must be called. The last two are known to be refused by name."""

    type: str
    function: NamedFunction | None = None
    custom: Raw = NOTHING
    allowed_tools: Raw = NOTHING


class SchemaFormat(Struct, forbid_unknown_fields=True):
    """A JSON schema that the answer must fit. It always must, whatever `strict` says."""

    name: Name
    schema: Raw = NOTHING
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct, forbid_unknown_fields=True):
    """What the answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None


class ChatRequest(OpenAIFields, kw_only=True):
    """The whole body. The first group is served, the second changes nothing here, the third is refused if not null."""

    messages: list[ChatMessage]
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[ToolMessage] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None

    metadata: dict[str, str] | None = None
    modalities: Annotated[list[Literal["text"]], Meta(max_length=1)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    store: bool | None = None

    audio: None = None
    function_call: None = None
    functions: None = None
    moderation: None = None
    prediction: None = None
    prompt_cache_options: None = None
    reasoning_effort: None = None
    verbosity: None = None
    web_search_options: None = None


_HINTS = MappingProxyType(
    {
        "audio": "answers are text",
        "function_call": "use tool_choice",
        "functions": "use tools",
        "modalities": 'use ["text"]',
        "moderation": "leave it out",
        "prediction": "leave it out",
        "prompt_cache_options": "leave it out, prompts are cached as they are",
        "reasoning_effort": "leave it out, the model reasons as it does",
        "verbosity": "leave it out, or ask for it in a message",
        "web_search_options": "leave it out, or offer a search as a tool",
    }
)
_decode = msgspec.json.Decoder(ChatRequest).decode


def decode_chat(body: bytes) -> ChatRequest:
    """The request in `body`. Raises `InvalidRequestError` with the field at fault as `param`."""
    return decode_json(_decode, body, _HINTS)
