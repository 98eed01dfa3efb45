"""What the OpenAPI page says of the generation endpoints, against what their requests take."""

from types import NoneType
from typing import Any

import httpx
import msgspec
import pytest

from service.api.openai_chat_messages import ChatRequest
from service.api.openai_completions_messages import CompletionRequest
from service.api.v2_generate_messages import GenerateMessage


@pytest.fixture(scope="module")
def paths(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").json()["paths"]
    return found


@pytest.mark.parametrize(
    ("path", "message", "untold"),
    [
        ("/v1/chat/completions", ChatRequest, set()),
        ("/v1/completions", CompletionRequest, set()),
        ("/v2/models/{model}/generate", GenerateMessage, {"stream"}),
        ("/v2/models/{model}/versions/{version}/generate_stream", GenerateMessage, {"stream"}),
    ],
)
def test_the_fields(paths: dict[str, Any], path: str, message: type[msgspec.Struct], untold: set[str]) -> None:
    told = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    served = {field.name for field in msgspec.structs.fields(message) if field.type is not NoneType}
    assert set(told["properties"]) == served - untold
    assert told["additionalProperties"] is False


def test_streams_are_told(paths: dict[str, Any]) -> None:
    answers = paths["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    assert set(answers) == {"application/json", "text/event-stream"}
    assert set(paths["/v2/models/{model}/generate_stream"]["post"]["responses"]["200"]["content"]) == {
        "text/event-stream"
    }
