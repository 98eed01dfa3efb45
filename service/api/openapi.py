"""The hot endpoints' entries in the OpenAPI page, which FastAPI cannot derive from plain ASGI endpoints."""

from fastapi import FastAPI

from engines.tensor import DATA_TYPES
from service.api.errors import is_openai
from service.api.openapi_generation import generation_entries
from service.api.openapi_parts import (
    INFER_HEADERS,
    OPENAI_ERROR,
    V2_ERROR,
    Schema,
    content,
    error_responses,
    parameters_of,
    responses,
)

INFER_PATHS = ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")
EMBEDDINGS_PATH = "/v1/embeddings"

_PARAMETERS: Schema = {"type": "object", "additionalProperties": {"type": ["boolean", "number", "string"]}}
_DATA: Schema = {"type": "array", "items": {}, "description": "Flat or nested as shape says, row-major."}
_TENSOR: Schema = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "enum": list(DATA_TYPES)},
        "parameters": {**_PARAMETERS, "description": "binary_data_size: the data is in the body behind the JSON."},
        "data": _DATA,
    },
}
_REQUESTED_OUTPUT: Schema = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "parameters": {**_PARAMETERS, "description": "binary_data: true or false; classification: classes a row."},
    },
}
_INFER_REQUEST: Schema = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "Echoed in the answer."},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {"type": "array", "items": _REQUESTED_OUTPUT, "description": "All outputs where left out."},
        "parameters": {
            **_PARAMETERS,
            "description": "timeout: microseconds until the deadline; priority: 1 is the most urgent; "
            "min_quality: 0 to 1, the least declared quality of what may answer; binary_data_output: all outputs in "
            "binary.",
        },
    },
    "example": {
        "id": "1",
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["I lost my card"]}],
    },
}
_INFER_ANSWER: Schema = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
    "example": {
        "model_name": "intent",
        "model_version": "1",
        "id": "1",
        "outputs": [{"name": "label", "datatype": "BYTES", "shape": [1], "data": ["lost_or_stolen_card"]}],
    },
}
_EMBEDDINGS_REQUEST: Schema = {
    "type": "object",
    "required": ["model", "input"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string"},
        "input": {
            "description": "A text, texts, token ids, or lists of token ids.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
                {"type": "array", "items": {"type": "integer"}},
                {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
            ],
        },
        "encoding_format": {"enum": ["float", "base64"], "default": "float"},
        "dimensions": {"type": "integer", "minimum": 1, "description": "Cut to so many and scaled to length 1."},
        "user": {"type": "string", "description": "Accepted, not used."},
        "safety_identifier": {"type": "string", "description": "Accepted, not used."},
    },
    "example": {"model": "minilm", "input": ["I lost my card"], "encoding_format": "float"},
}
_EMBEDDINGS_ANSWER: Schema = {
    "type": "object",
    "properties": {
        "object": {"const": "list"},
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "object": {"const": "embedding"},
                    "index": {"type": "integer"},
                    "embedding": {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]},
                },
            },
        },
        "model": {"type": "string"},
        "usage": {
            "type": "object",
            "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}},
        },
    },
    "example": {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456]}],
        "model": "minilm",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    },
}


def document(app: FastAPI) -> None:
    """Adds the hot endpoints to the app's OpenAPI page."""
    derive = app.openapi

    def openapi() -> Schema:
        schema = derive()
        for path, item in schema["paths"].items():
            for operation in item.values():
                _tell_errors(operation, OPENAI_ERROR if is_openai(path) else V2_ERROR)
        for name in ("HTTPValidationError", "ValidationError"):
            schema.get("components", {}).get("schemas", {}).pop(name, None)
        schema["paths"].update({path: {"post": _infer(path)} for path in INFER_PATHS})
        schema["paths"][EMBEDDINGS_PATH] = {"post": _embeddings()}
        schema["paths"].update(generation_entries())
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _tell_errors(operation: Schema, error: Schema) -> None:
    """In place of the errors that FastAPI would answer with."""
    operation["responses"].pop("422", None)
    operation["responses"] |= error_responses(error)


def _infer(path: str) -> Schema:
    answer = content(_INFER_ANSWER) | {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "tags": ["Open Inference Protocol v2"],
        "summary": "Infer",
        "description": "JSON, or JSON with binary tensors behind it (header Inference-Header-Content-Length), or one "
        'raw tensor (that header 0). NaN and the infinities are the strings "NaN", "Infinity" and "-Infinity". '
        "gzip and deflate both ways.",
        "parameters": parameters_of(path),
        "requestBody": {"required": True, "content": content(_INFER_REQUEST)},
        "responses": responses(answer, V2_ERROR, INFER_HEADERS),
    }


def _embeddings() -> Schema:
    return {
        "tags": ["OpenAI"],
        "summary": "Embeddings",
        "description": "OpenAI's embeddings endpoint; base64 is of little-endian float32.",
        "parameters": parameters_of(EMBEDDINGS_PATH),
        "requestBody": {"required": True, "content": content(_EMBEDDINGS_REQUEST)},
        "responses": responses(content(_EMBEDDINGS_ANSWER), OPENAI_ERROR, INFER_HEADERS),
    }
