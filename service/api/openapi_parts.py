"""What the entries of the OpenAPI page are made of."""

from typing import Any

Schema = dict[str, Any]

V2_ERROR: Schema = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "example": {"error": "input 'x': shape [2] needs 2 values, data has 3"},
}
OPENAI_ERROR: Schema = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
_ANSWERED = (
    "x-request-id",
    "x-model",
    "x-engine",
    "x-queue-ms",
    "x-predicted-ms",
    "x-predicted-p95-ms",
    "x-actual-ms",
    "x-step-down",
    "x-retries",
    "x-explain",
)
INFER_HEADERS = (*_ANSWERED, "x-engine-ms")
GENERATION_HEADERS = (*_ANSWERED, "x-ttft-ms", "x-tpot-ms")
_RETRY_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry", "x-explain")
_REQUEST_HEADERS = {
    "x-deadline-ms": "Milliseconds until the deadline; of several deadlines the least counts.",
    "grpc-timeout": "The same as gRPC says it: up to 8 digits and a unit of H M S m u n.",
    "x-explain": "1: the answer's header x-explain says in JSON why it was answered as it was.",
    "x-variant": "The variant of the route that is to answer.",
    "x-min-quality": "0 to 1: the least declared quality of what may answer.",
}

_AT_FAULT = "The request is at fault, or comes too early (429)"
_SERVER_AT_FAULT = "The server is at fault, too late (504), or cannot answer for now (503)"


def content(schema: Schema) -> Schema:
    """A JSON body."""
    return {"application/json": {"schema": schema}}


def responses(answer: Schema, error: Schema, names: tuple[str, ...]) -> Schema:
    """The answers of an endpoint: content of a good one and its headers, and what an error looks like."""
    good = {"description": "The answer", "headers": _headers(names), "content": answer}
    return {"200": good} | error_responses(error)


def error_responses(error: Schema) -> Schema:
    """The answers of any endpoint that are errors."""
    retry = _headers(_RETRY_HEADERS)
    return {
        "4XX": {"description": _AT_FAULT, "headers": retry, "content": content(error)},
        "5XX": {"description": _SERVER_AT_FAULT, "headers": retry, "content": content(error)},
    }


def _headers(names: tuple[str, ...]) -> Schema:
    return {name: {"schema": {"type": "string"}} for name in names}


def parameters_of(path: str) -> list[Schema]:
    """The parameters in a path's braces, and the headers that every hot endpoint reads."""
    text: Schema = {"schema": {"type": "string"}}
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    in_path = [{"name": name, "in": "path", "required": True, **text} for name in names]
    headers = [{"name": name, "in": "header", "description": says, **text} for name, says in _REQUEST_HEADERS.items()]
    return in_path + headers
