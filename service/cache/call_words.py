"""What is asked of a generator, as bytes that are equal only where all of it is."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np

from engines.generation import Chat, GenerationCall, Message


def words_of(call: GenerationCall) -> bytes | None:
    """Every prompt and every option, as MessagePack; None for what cannot be written so: text that is no Unicode.

    Fields are told by their names, so that one which is added later is in it, too; tables keep the order in which they
    were given, since a chat template shows them in it.
    """
    try:
        return msgspec.msgpack.encode(call, enc_hook=_plain)
    except (UnicodeEncodeError, OverflowError):
        return None


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "shape": value.shape, "data": value.tobytes()}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a request holds {type(value).__name__}, which has no bytes")


def last_question(call: GenerationCall) -> str:
    """The text that a chat waits to have answered: its last message, where that is the user's; else ""."""
    if len(call.prompts) != 1 or not isinstance(chat := call.prompts[0], Chat) or not chat.messages:
        return ""
    last = chat.messages[-1]
    return last.content if last.role == "user" else ""


def without_question(call: GenerationCall) -> GenerationCall:
    """The same call with nothing asked in its last message: equal for all that is asked in the same place."""
    (chat,) = call.prompts
    if not isinstance(chat, Chat):
        raise TypeError("only a chat has a question")
    last = chat.messages[-1]
    return GenerationCall(
        (replace(chat, messages=(*chat.messages[:-1], Message(last.role, name=last.name))),), call.options
    )


def asks_plainly(call: GenerationCall) -> bool:
    """Does a chat ask for one answer in words, without tools and logprobs, which tell of the very words asked?"""
    options, plain = call.options, all(isinstance(prompt, Chat) and not prompt.tools for prompt in call.prompts)
    return plain and options.n == 1 and options.logprobs is None
