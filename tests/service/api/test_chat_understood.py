"""What the gateway is asked to generate for what the unmodified openai client says."""

from typing import Any

import openai

from engines.generation import Message, ToolCall
from service.api.openai_chat_messages import ChatRequest
from tests.service.api.models import TestGateway
from tests.service.api.test_chat_client import HELLO, TOOLS, asked, client

__all__ = ["client"]


def test_a_whole_conversation(client: openai.OpenAI, gateway: TestGateway) -> None:
    messages: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be true."}]},
        {"role": "user", "content": "Balance?", "name": "ann"},
        client.chat.completions.create(model="only_caller", messages=HELLO, tools=TOOLS).choices[0].message,
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "12 €"}]},
        {"role": "assistant", "content": "12 €", "reasoning_content": "Easy."},
        {"role": "user", "content": ""},
    ]
    client.chat.completions.create(model="echo", messages=messages, tools=TOOLS)
    chat = asked(gateway)
    assert chat.messages == (
        Message("system", "Be brief."),
        Message("system", "Be kind.\nBe true."),
        Message("user", "Balance?", name="ann"),
        Message("assistant", tool_calls=(ToolCall("call_1", "cards", "{}"),)),
        Message("tool", "12 €", tool_call_id="call_1"),
        Message("assistant", "12 €", reasoning="Easy."),
        Message("user", ""),
    )
    assert (chat.tool_choice, chat.parallel_tool_calls) == ("auto", True)


def test_all_that_a_caller_may_say(client: openai.OpenAI, gateway: TestGateway) -> None:
    client.chat.completions.create(
        model="echo",
        messages=HELLO,
        max_tokens=9,
        max_completion_tokens=9,
        temperature=0.5,
        top_p=0.9,
        n=2,
        seed=-1,
        stop=["a", "b"],
        presence_penalty=-2,
        frequency_penalty=2,
        logit_bias={"7": 100, "0": -100},
        response_format={"type": "json_object"},
        user="u",
        safety_identifier="s",
        metadata={"k": "v"},
        modalities=["text"],
        prompt_cache_key="key",
        service_tier="default",
        store=False,
        extra_body={"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "ignore_eos": True},
    )
    assert gateway.talker.last is not None
    options = gateway.talker.last.call.options
    assert (options.max_tokens, options.temperature, options.top_p, options.n) == (9, 0.5, 0.9, 2)
    assert (options.seed, options.stop) == (2**63 - 1, ("a", "b"))
    assert (options.presence_penalty, options.frequency_penalty) == (-2, 2)
    assert options.logit_bias == {7: 100, 0: -100}
    assert options.json_schema == '{"type":"object"}'
    assert (options.top_k, options.min_p, options.repetition_penalty, options.ignore_eos) == (5, 0.1, 1.1, True)


def test_null_is_the_default_everywhere(client: openai.OpenAI, gateway: TestGateway) -> None:
    client.chat.completions.create(model="echo", messages=HELLO)
    assert gateway.talker.last is not None
    plain = gateway.talker.last.call
    names = set(ChatRequest.__struct_fields__) - {"model", "messages"}
    body = {"model": "echo", "messages": HELLO} | dict.fromkeys(names)
    client.post("/chat/completions", cast_to=object, body=body)
    assert gateway.talker.last.call == plain


def test_a_schema(client: openai.OpenAI, gateway: TestGateway) -> None:
    schema = {"type": "object", "properties": {"grüße": {"type": "string"}}}
    client.chat.completions.create(
        model="echo",
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}},
    )
    assert gateway.talker.last is not None
    assert gateway.talker.last.call.options.json_schema == (
        '{"type":"object","properties":{"grüße":{"type":"string"}}}'
    )
