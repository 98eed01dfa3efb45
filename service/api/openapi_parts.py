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
INFER_HEADERS = ("x-request-id", "x-model", "x-engine", "x-queue-ms", "x-engine-ms")
GENERATION_HEADERS = ("x-request-id", "x-model", "x-engine", "x-queue-ms", "x-ttft-ms", "x-tpot-ms")


def content(schema: Schema) -> Schema:
    """A JSON body."""
    return {"application/json": {"schema": schema}}


def responses(answer: Schema, error: Schema, names: tuple[str, ...]) -> Schema:
    """The answers of an endpoint: content of a good one and its headers, and what an error looks like."""
    headers = {name: {"schema": {"type": "string"}} for name in names}
    return {
        "200": {"description": "The answer", "headers": headers, "content": answer},
        "4XX": {"description": "The request is at fault, or comes too early (429)", "content": content(error)},
        "5XX": {"description": "The server is at fault, or too late (504)", "content": content(error)},
    }


def path_parameters(path: str) -> list[Schema]:
    """The parameters in a path's braces."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
