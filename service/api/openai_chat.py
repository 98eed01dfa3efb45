"""POST /v1/chat/completions."""

from functools import partial

from service.api.generation_fields import priority_of, served_tier, wants_usage
from service.api.openai_answers import new_envelope
from service.api.openai_chat_answer import encode_chat
from service.api.openai_chat_chunks import ChatChoice
from service.api.openai_chat_messages import decode_chat
from service.api.openai_chat_request import chat_call
from service.api.openai_generation import Asked


def understand_chat(body: bytes) -> Asked:
    """The request in `body`; raises `InvalidRequestError` with the field at fault as `param`."""
    message = decode_chat(body)
    usage = wants_usage(message)
    call = chat_call(message)
    streamed = message.stream or False
    kind = "chat.completion.chunk" if streamed else "chat.completion"
    envelope = new_envelope("chatcmpl-", kind, message.model, served_tier(message))
    encode = partial(encode_chat, logprobs=call.options.logprobs is not None)
    new_choice = partial(ChatChoice, envelope.opening())
    return Asked(call, streamed, usage, envelope, encode, new_choice, priority_of(message))
