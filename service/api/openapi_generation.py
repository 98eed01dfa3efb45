"""The entries of the generation endpoints in the OpenAPI page."""

from service.api.openapi_parts import (
    GENERATION_HEADERS,
    OPENAI_ERROR,
    V2_ERROR,
    Schema,
    content,
    parameters_of,
    responses,
)

CHAT_PATH = "/v1/chat/completions"
COMPLETIONS_PATH = "/v1/completions"
GENERATE_PATHS = ("/v2/models/{model}/generate", "/v2/models/{model}/versions/{version}/generate")
GENERATE_STREAM_PATHS = tuple(f"{path}_stream" for path in GENERATE_PATHS)

_NOT_USED = "Accepted, changes nothing."
_STRING: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean", "default": False}
_STRINGS: Schema = {"anyOf": [_STRING, {"type": "array", "items": _STRING, "maxItems": 16}]}
_TOKENS: Schema = {"type": "integer", "minimum": 1}


def _number(low: float, high: float, **more: object) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high, **more}


_SAMPLING: Schema = {
    "max_tokens": {**_TOKENS, "description": "The most tokens of each answer."},
    "temperature": _number(0, 2, description="0 always takes the likeliest token."),
    "top_p": _number(0, 1),
    "top_k": {"type": "integer", "minimum": -1, "description": "0 or -1: no such limit."},
    "min_p": _number(0, 1, default=0),
    "seed": {"type": "integer", "description": "64 bits."},
    "stop": {**_STRINGS, "description": "The answer ends before any of these texts."},
    "presence_penalty": _number(-2, 2, default=0),
    "frequency_penalty": _number(-2, 2, default=0),
    "repetition_penalty": _number(0, 10, default=1),
    "ignore_eos": {**_FLAG, "description": "Go on to max_tokens."},
}
_OPENAI: Schema = {
    "model": _STRING,
    **_SAMPLING,
    "n": {"type": "integer", "minimum": 1, "maximum": 128, "default": 1},
    "logit_bias": {"type": "object", "additionalProperties": _number(-100, 100), "description": "Keys: token ids."},
    "stream": _FLAG,
    "stream_options": {"type": "object", "properties": {"include_usage": _FLAG}, "description": "Only of streams."},
    "service_tier": {
        "enum": ["auto", "default", "flex", "priority"],
        "description": "The place in the queue: flex is served after the default, priority before it.",
    },
    "user": {**_STRING, "description": _NOT_USED},
    "safety_identifier": {**_STRING, "description": _NOT_USED},
}
_MESSAGE: Schema = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {
            "description": "A text, or parts of type text, which become lines of their own.",
            "anyOf": [_STRING, {"type": "array", "items": {"type": "object"}}, {"type": "null"}],
        },
        "name": _STRING,
        "tool_calls": {"type": "array", "items": {"type": "object"}},
        "tool_call_id": _STRING,
        "reasoning_content": _STRING,
    },
}
_CHAT: Schema = {
    "type": "object",
    "required": ["model", "messages"],
    "additionalProperties": False,
    "properties": {
        "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
        **_OPENAI,
        "max_completion_tokens": {**_TOKENS, "description": "The same as max_tokens."},
        "logprobs": _FLAG,
        "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
        "response_format": {
            "type": "object",
            "description": "text, json_object, or json_schema with name and schema; the answer always fits the schema.",
            "properties": {"type": {"enum": ["text", "json_object", "json_schema"]}, "json_schema": {"type": "object"}},
        },
        "tools": {"type": "array", "maxItems": 128, "items": {"type": "object"}, "description": "Functions."},
        "tool_choice": {
            "anyOf": [{"enum": ["none", "auto", "required"]}, {"type": "object"}],
            "description": "An object names the function to call.",
        },
        "parallel_tool_calls": {"type": "boolean", "default": True},
        "metadata": {"type": "object", "description": _NOT_USED},
        "modalities": {"type": "array", "items": {"const": "text"}, "description": _NOT_USED},
        "prompt_cache_key": {**_STRING, "description": _NOT_USED},
        "prompt_cache_retention": {**_STRING, "description": _NOT_USED},
        "store": {"const": False, "description": _NOT_USED},
    },
    "example": {
        "model": "assistant",
        "messages": [{"role": "user", "content": "I lost my card"}],
        "max_tokens": 64,
        "stream": True,
    },
}
_COMPLETION: Schema = {
    "type": "object",
    "required": ["model", "prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {
            "description": "A text, texts, token ids, or lists of token ids.",
            "anyOf": [_STRING, {"type": "array", "items": {}}],
        },
        **_OPENAI,
        "max_tokens": {**_TOKENS, "default": 16},
        "echo": {**_FLAG, "description": "The answer starts with the prompt; not together with logprobs."},
        "logprobs": {"type": "integer", "minimum": 0, "maximum": 5},
        "best_of": {"type": "integer", "description": "Only the same as n."},
    },
    "example": {"model": "assistant", "prompt": "Dear customer,", "max_tokens": 32},
}
_PARAMETERS: Schema = {
    **_SAMPLING,
    "exclude_input_in_output": {"type": "boolean", "default": True},
    "timeout": {"type": "integer", "minimum": 0, "description": "Microseconds until the deadline."},
    "priority": {"type": "integer", "minimum": 0, "description": "1 is the most urgent; 0, the default, is 2."},
    "min_quality": _number(0, 1, description="The least declared quality of what may answer."),
}
_GENERATE: Schema = {
    "type": "object",
    "required": ["text_input"],
    "additionalProperties": False,
    "properties": {
        "text_input": _STRING,
        "id": {**_STRING, "description": "Echoed in the answer."},
        "parameters": {"type": "object", "properties": _PARAMETERS, "additionalProperties": False},
        **_PARAMETERS,
    },
    "example": {"text_input": "Dear customer,", "parameters": {"max_tokens": 32, "temperature": 0}},
}
_GENERATED: Schema = {
    "type": "object",
    "properties": {"model_name": _STRING, "model_version": _STRING, "id": _STRING, "text_output": _STRING},
}
_ANSWER: Schema = {
    "type": "object",
    "properties": {
        "id": _STRING,
        "object": {"enum": ["chat.completion", "text_completion"]},
        "created": {"type": "integer"},
        "model": _STRING,
        "choices": {"type": "array", "items": {"type": "object"}},
        "usage": {"type": "object"},
        "metadata": {"type": "object", "description": "What a pipeline found out about the request."},
    },
}
_EVENTS: Schema = {"text/event-stream": {}}
_STREAMS = (
    " A stream starts with the first token or, after some seconds, with a comment; then errors come as an event"
    " {error: ...}, the last one. Its last comment has the timings."
)


def generation_entries() -> dict[str, Schema]:
    """Each path with its entry."""
    chat = _openai(CHAT_PATH, "Chat completions", "OpenAI's chat endpoint.", _CHAT)
    completions = _openai(COMPLETIONS_PATH, "Completions", "OpenAI's endpoint that goes on with a text.", _COMPLETION)
    whole = {path: {"post": _generate(path, "Generate", content(_GENERATED))} for path in GENERATE_PATHS}
    pieces = {path: {"post": _generate(path, "Generate, streamed", _EVENTS)} for path in GENERATE_STREAM_PATHS}
    return {CHAT_PATH: {"post": chat}, COMPLETIONS_PATH: {"post": completions}, **whole, **pieces}


def _openai(path: str, summary: str, description: str, request: Schema) -> Schema:
    return {
        "tags": ["OpenAI"],
        "summary": summary,
        "description": description + _STREAMS,
        "parameters": parameters_of(path),
        "requestBody": {"required": True, "content": content(request)},
        "responses": responses(content(_ANSWER) | _EVENTS, OPENAI_ERROR, GENERATION_HEADERS),
    }


def _generate(path: str, summary: str, answer: Schema) -> Schema:
    return {
        "tags": ["Open Inference Protocol v2"],
        "summary": summary,
        "description": "Triton's generate extension. Parameters may stand beside text_input, too. For a model that "
        "takes tensors: its inputs by their names, each a value or a flat list, and so its outputs." + _STREAMS,
        "parameters": parameters_of(path),
        "requestBody": {"required": True, "content": content(_GENERATE)},
        "responses": responses(answer, V2_ERROR, GENERATION_HEADERS),
    }
