"""A whole chat answer onto the wire."""

import orjson

from engines.generation import ToolCall
from service.api.collecting import Answer, Whole
from service.api.openai_answers import Envelope, Json, chat_logprobs, usage_fields


def encode_chat(envelope: Envelope, whole: Whole, *, logprobs: bool) -> bytes:
    """OpenAI's chat.completion object. `logprobs`: they are wanted."""
    choices = [_choice(index, answer, logprobs) for index, answer in enumerate(whole.answers)]
    answer = envelope.fields() | {"choices": choices, "usage": usage_fields(whole.usage)}
    if whole.generation.metadata:
        answer["metadata"] = dict(whole.generation.metadata)
    return orjson.dumps(answer)


def _choice(index: int, answer: Answer, logprobs: bool) -> Json:
    return {
        "index": index,
        "message": _message(answer),
        "logprobs": chat_logprobs(answer.logprobs) if logprobs else None,
        "finish_reason": answer.reason,
    }


def _message(answer: Answer) -> Json:
    calls = answer.tool_calls
    message: Json = {"role": "assistant", "content": answer.text or (None if calls else ""), "refusal": None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if calls:
        message["tool_calls"] = [_call(call) for call in calls]
    return message


def _call(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
