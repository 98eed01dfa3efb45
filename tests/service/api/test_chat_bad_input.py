"""Bad requests to generate: each a clear 400 with the field at fault as `param`, and none of them a 500."""

import json
from typing import Any

import httpx
import pytest

from service.api.generation_fields import GenerationFields
from service.api.openai_chat_messages import ChatRequest
from service.api.openai_completions_messages import CompletionRequest

USER = {"role": "user", "content": "hello"}
CHAT = {"model": "echo", "messages": [USER]}
COMPLETION = {"model": "echo", "prompt": "hello"}
PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


def refused(http: httpx.Client, kind: str, content: bytes, param: str | None, words: str = "") -> None:
    """Expects a 400 in OpenAI's shape, whether a stream is asked for or not."""
    answer = http.post(PATHS[kind], content=content)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_request", param)
    assert words in error["message"]
    assert len(error["message"]) < 1000


def messages(*given: Any) -> dict[str, Any]:
    return {"messages": list(given)}


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f"} | function}


def call(**changes: Any) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}} | changes


def schema(given: Any, **changes: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": given} | changes}}


def nested(depth: int) -> Any:
    found: Any = {}
    for _ in range(depth):
        found = {"items": found}
    return found


PART = "messages[0].content[0]"
BAD_CHATS: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": []}, "messages", "empty"),
    ({"messages": {}}, "messages", "got `object`"),
    ({"messages": ["hello"]}, "messages[0]", "got `str`"),
    ({"messages": [USER] * 4097}, "messages", "the most is 4096"),
    (messages({"role": "user", "content": [{"type": "text", "text": "x"}] * 4097}), "messages", "4097 parts"),
    (messages({"role": "assistant", "content": "x", "annotations": [{}]}), "messages[0].annotations", "leave them"),
    (messages({"content": "x"}), "messages[0].role", "missing required field"),
    (messages(USER, {"role": "user"}), "messages[1].content", "no content"),
    (messages({"role": "user", "content": None}), "messages[0].content", "no content"),
    (messages({"role": "assistant", "tool_calls": []}), "messages[0].content", "no content"),
    (messages({"role": "user", "content": 5}), "messages[0].content", "got `int`"),
    (messages({"role": "robot", "content": "x"}), "messages[0].role", "'robot'; roles are system, developer"),
    (messages({"role": "function", "name": "f", "content": "x"}), "messages[0].role", "use role tool"),
    (messages({"role": 1, "content": "x"}), "messages[0].role", "got `int`"),
    (messages(USER | {"weight": 1}), "messages[0].weight", "unknown field"),
    (messages(USER | {"tool_calls": [call()]}), "messages[0].tool_calls", "only for role assistant"),
    (messages(USER | {"tool_call_id": "c"}), "messages[0].tool_call_id", "only for role tool"),
    (messages(USER | {"reasoning_content": "hm"}), "messages[0].reasoning_content", "only for role assistant"),
    (messages({"role": "tool", "content": "x"}), "messages[0].tool_call_id", "the call that it answers"),
    (messages(USER | {"function_call": {"name": "f"}}), "messages[0].function_call", "got `object`"),
    (messages({"role": "assistant", "tool_calls": [{"id": "c"}]}), "messages[0].tool_calls[0].function", "missing"),
    (messages({"role": "assistant", "tool_calls": [call(type="custom")]}), "messages[0].tool_calls[0].type", "custom"),
    (messages({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}), PART, "send text"),
    (messages({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}), PART, "send text"),
    (messages({"role": "user", "content": [{"type": "file", "file": {}}]}), PART, "send text"),
    (messages({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}), PART, "send text"),
    (messages({"role": "user", "content": [{"type": "text"}]}), PART, "needs the field text"),
    (messages({"role": "user", "content": [{"type": "text", "text": "x", "file": {}}]}), PART, "and no other"),
    (messages({"role": "user", "content": [{"type": "text", "text": 1}]}), f"{PART}.text", "got `int`"),
    (messages({"role": "user", "content": [{"text": "x"}]}), f"{PART}.type", "missing"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "they mean the same"),
    ({"max_completion_tokens": 0}, "max_completion_tokens", ">= 1"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "<= 20"),
    ({"top_logprobs": 1}, "top_logprobs", "needs logprobs"),
    ({"logprobs": 1}, "logprobs", "got `int`"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "xml"),
    ({"response_format": {"type": "json_schema"}}, "response_format", "name and schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format", "name and schema"),
    (schema([]), "response_format.json_schema.schema", "no JSON schema"),
    (schema(None), "response_format.json_schema.schema", "no JSON schema"),
    (schema(nested(65)), "response_format.json_schema.schema", "nested deeper than 64"),
    (schema({"x": "y" * 300_000}), "response_format.json_schema.schema", "the most is 131072"),
    (schema({"x": [[]] * 10_000}), "response_format.json_schema.schema", "holds 10002 objects and lists"),
    (schema({}, name="a b"), "response_format.json_schema.name", "matching regex"),
    (schema({}, extra=1), "response_format.json_schema.extra", "unknown field"),
    ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0]", "use function"),
    ({"tools": [{"type": "function"}]}, "tools[0]", "needs the field function"),
    ({"tools": [tool(name="a b")]}, "tools[0].function.name", "matching regex"),
    ({"tools": [tool(name="f\n")]}, "tools[0].function.name", "matching regex"),
    ({"tools": [tool(name="f" * 65)]}, "tools[0].function.name", "matching regex"),
    ({"tools": [tool(), tool()]}, "tools[1]", "'f' twice"),
    ({"tools": [tool(parameters=[])]}, "tools[0].function.parameters", "no JSON schema"),
    ({"tools": [tool(parameters=nested(65))]}, "tools[0].function.parameters", "nested deeper"),
    ({"tools": [tool(name=f"f{i}", parameters={"x": "y" * 9000}) for i in range(30)]}, "tools", "131072"),
    ({"tools": [tool(name=f"f{i}") for i in range(129)]}, "tools", "the most is 128"),
    ({"tool_choice": "required"}, "tool_choice", "there are no tools"),
    ({"tool_choice": "any", "tools": [tool()]}, "tool_choice", "any"),
    ({"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [tool()]}, "tool_choice", "'g'"),
    ({"tool_choice": {"type": "function"}, "tools": [tool()]}, "tool_choice", "must be"),
    ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice", "send only those"),
    ({"functions": [{"name": "f"}]}, "functions", "use tools"),
    ({"function_call": "auto"}, "function_call", "use tool_choice"),
    ({"audio": {"voice": "x"}}, "audio", "answers are text"),
    ({"modalities": ["text", "audio"]}, "modalities", 'use ["text"]'),
    ({"modalities": ["text", "text"]}, "modalities", 'use ["text"]'),
    ({"prediction": {}}, "prediction", "not served"),
    ({"web_search_options": {}}, "web_search_options", "not served"),
    ({"reasoning_effort": "low"}, "reasoning_effort", "not served"),
    ({"verbosity": "low"}, "verbosity", "not served"),
    ({"store": True}, "store", "no answer is kept"),
    ({"service_tier": "scale"}, "service_tier", "scale"),
    ({"metadata": {"a": 1}}, "metadata", "got `int`"),
]
BAD_COMPLETIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": None}, "prompt", "must be a string"),
    ({"prompt": ""}, "prompt", "empty item"),
    ({"prompt": []}, "prompt", "empty"),
    ({"prompt": [[]]}, "prompt", "empty item"),
    ({"prompt": ["a", 1]}, "prompt", "got `int`"),
    ({"prompt": [1, "a"]}, "prompt", "got `str`"),
    ({"prompt": [1.5]}, "prompt", "got `float`"),
    ({"prompt": [-1]}, "prompt", ">= 0"),
    ({"prompt": [2**31]}, "prompt", "<= 2147483647"),
    ({"prompt": [[[1]]]}, "prompt", "got `array`"),
    ({"prompt": {"a": 1}}, "prompt", "got `object`"),
    ({"prompt": [1] * 300_000}, "prompt", "token ids"),
    ({"prompt": [[]] * 200_000}, "prompt", "has 200000 items, the most is 1024"),
    ({"prompt": ["a"] * 1025}, "prompt", "the most is 1024"),
    ({"prompt": ["a"] * 9, "n": 128}, "prompt", "1152 answers"),
    ({"best_of": 2}, "best_of", "n is 1"),
    ({"best_of": 1, "n": 2}, "best_of", "n is 2"),
    ({"suffix": "x"}, "suffix", "into the prompt"),
    ({"logprobs": 6}, "logprobs", "<= 5"),
    ({"logprobs": True}, "logprobs", "got `bool`"),
    ({"logprobs": 0, "echo": True}, "logprobs", "leave out echo or logprobs"),
    ({"echo": "yes"}, "echo", "got `str`"),
    ({"messages": [USER]}, "messages", "unknown field"),
]
BAD_BOTH: list[tuple[dict[str, Any], str, str]] = [
    ({"n": 2**31}, "n", "<= 128"),
    ({"n": 0}, "n", ">= 1"),
    ({"max_tokens": 0}, "max_tokens", ">= 1"),
    ({"max_tokens": 2**31}, "max_tokens", "<= 2147483647"),
    ({"max_tokens": 1.0}, "max_tokens", "got `float`"),
    ({"temperature": -0.1}, "temperature", ">= 0"),
    ({"temperature": 2.1}, "temperature", "<= 2"),
    ({"temperature": True}, "temperature", "got `bool`"),
    ({"top_p": 0}, "top_p", "> 0"),
    ({"top_p": 1.1}, "top_p", "<= 1"),
    ({"top_k": -2}, "top_k", ">= -1"),
    ({"min_p": 1.1}, "min_p", "<= 1"),
    ({"repetition_penalty": 0}, "repetition_penalty", "> 0"),
    ({"presence_penalty": 2.1}, "presence_penalty", "<= 2"),
    ({"frequency_penalty": -2.1}, "frequency_penalty", ">= -2"),
    ({"seed": 2**63}, "seed", "<= 9223372036854775807"),
    ({"seed": 10**400}, "seed", "seed"),
    ({"stop": ["x"] * 100_000}, "stop", "the most is 16"),
    ({"stop": ["x", ""]}, "stop", "empty string"),
    ({"stop": "x" * 257}, "stop", "more than 256 characters"),
    ({"stop": ["x", 1]}, "stop[1]", "got `int`"),
    ({"logit_bias": {"a": 1}}, "logit_bias", "'a'; keys are token ids"),
    ({"logit_bias": {"-1": 1}}, "logit_bias", "'-1'"),
    ({"logit_bias": {"²": 1}}, "logit_bias", "'²'"),
    ({"logit_bias": {"9" * 5000: 1}}, "logit_bias", "keys are token ids"),
    ({"logit_bias": {"2147483648": 1}}, "logit_bias", "2147483647"),
    ({"logit_bias": {"1": 101}}, "logit_bias", "<= 100"),
    ({"logit_bias": {"1": "x"}}, "logit_bias", "got `str`"),
    ({"logit_bias": {str(i): 1 for i in range(1025)}}, "logit_bias", "the most is 1024"),
    ({"logit_bias": [1]}, "logit_bias", "got `array`"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "only for streams"),
    ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation", ""),
    ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x", "unknown field"),
    ({"stream": 1}, "stream", "got `int`"),
    ({"unheard_of": 1}, "unheard_of", "unknown field"),
    ({"u" * 100_000: 1}, "u" * 400 + "...", "unknown field"),
    ({"model": 5}, "model", "got `int`"),
]


@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["whole", "stream"])
@pytest.mark.parametrize(("changes", "param", "words"), BAD_CHATS + BAD_BOTH)
def test_chat(http: httpx.Client, changes: dict[str, Any], param: str, words: str, more: dict[str, Any]) -> None:
    body = CHAT | more | changes
    if param == "stream_options":
        body["stream"] = False
    refused(http, "chat", json.dumps(body).encode(), param, words)


@pytest.mark.parametrize(("changes", "param", "words"), BAD_COMPLETIONS + BAD_BOTH)
def test_completions(http: httpx.Client, changes: dict[str, Any], param: str, words: str) -> None:
    refused(http, "completions", json.dumps(COMPLETION | changes).encode(), param, words)


@pytest.mark.parametrize("wrong", ['{"a": 1}', '[{"a": [1]}]', "1e400", "NaN", "-Infinity", '"\\ud800"', "1e5"])
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        *[("chat", field) for field in ChatRequest.__struct_fields__],
        *[("completions", field) for field in CompletionRequest.__struct_fields__],
    ],
)
def test_no_field_takes_everything(http: httpx.Client, kind: str, field: str, wrong: str) -> None:
    """A lone surrogate is wrong everywhere, and so is NaN; the rest may be right for a field or two."""
    body = json.dumps((CHAT if kind == "chat" else COMPLETION) | {field: None})
    answer = http.post(PATHS[kind], content=body.replace(f'"{field}": null', f'"{field}": {wrong}').encode())
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["error"]["param"].startswith(field)
    else:
        assert wrong.startswith("1e")


def test_every_field_has_a_bad_value_above() -> None:
    """Those of `GenerationFields` are in all protocols, so none may be forgotten."""
    tried = {name for changes, _, _ in BAD_BOTH for name in changes}
    assert set(GenerationFields.__struct_fields__) - tried == {"ignore_eos"}


@pytest.mark.parametrize("kind", ["chat", "completions"])
@pytest.mark.parametrize(
    ("content", "param", "words"),
    [
        (b"", None, "not valid JSON"),
        (b"[]", None, "got `array`"),
        (b"{", None, "not valid JSON"),
        (b'{"model": "echo"', None, "not valid JSON"),
        (b"\xff\xfe{}", None, "not valid JSON"),
        (b'{"model": "echo", "user": "\xff"}', None, "not valid JSON"),
        (b'{"model": "echo", "temperature": NaN}', "temperature", "NaN, which is no JSON number"),
        (b'{"model": "echo", "logit_bias": {"1": -Infinity}}', "logit_bias.1", "-Infinity, which is no JSON number"),
        (b'{"model": "echo", "user": "\\udc00"}', "user", "lone surrogate"),
        (b'{"model": "echo", "\\udc00": 1}', None, "lone surrogate"),
        (b'{"model": "echo", "stop": ["a", "\\ud83d"]}', "stop[1]", "lone surrogate"),
        (b'{"user": ' + b"[" * 250_000 + b"]" * 250_000 + b"}", "user", "got `array`"),
        (b'{"nobody": ' + b"[" * 250_000 + b"]" * 250_000 + b"}", "nobody", "unknown field"),
    ],
)
def test_bodies(http: httpx.Client, kind: str, content: bytes, param: str | None, words: str) -> None:
    refused(http, kind, content, param, words)


@pytest.mark.parametrize("place", ["prompt", "messages", "response_format", "tools"])
@pytest.mark.parametrize("bracket", ["[]", "{}"])
def test_deep_nesting(http: httpx.Client, place: str, bracket: str) -> None:
    opening, closing = ('{"a":', "}") if bracket == "{}" else ("[", "]")
    deep = opening * 100_000 + "0" + closing * 100_000
    inner = {
        "prompt": deep,
        "messages": f'[{{"role":"user","content":[{{"type":"text","text":"x","file":{deep}}}]}}]',
        "response_format": f'{{"type":"json_schema","json_schema":{{"name":"x","schema":{deep}}}}}',
        "tools": f'[{{"type":"function","function":{{"name":"x","parameters":{deep}}}}}]',
    }[place]
    kind = "completions" if place == "prompt" else "chat"
    body = json.dumps((COMPLETION if place == "prompt" else CHAT) | {place: None})
    refused(http, kind, body.replace(f'"{place}": null', f'"{place}": {inner}').encode(), place, "nested too deep")


@pytest.mark.parametrize(("kind", "missing"), [("chat", "model"), ("chat", "messages"), ("completions", "prompt")])
def test_missing_fields(http: httpx.Client, kind: str, missing: str) -> None:
    body = dict(CHAT if kind == "chat" else COMPLETION)
    del body[missing]
    refused(http, kind, json.dumps(body).encode(), missing, "missing required field")


def test_what_a_schema_may_still_be(http: httpx.Client) -> None:
    for given in ({}, nested(60), {"x": 10**40}):
        assert http.post(PATHS["chat"], json=CHAT | schema(given)).status_code == 200


def test_a_deep_body_is_not_searched_for_long(http: httpx.Client) -> None:
    """Quotes that are escaped, in a string that the search sees only half of."""
    content = b'{"user": "' + b'\\"' * 500_000 + b'", "prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    refused(http, "completions", content, None, "nested too deep")
