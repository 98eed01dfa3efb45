"""What OpenAI's `input` and `prompt` may be: a text, texts, token ids, or lists of token ids."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from service.api.json_faults import shorten
from service.errors import InvalidRequestError

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_START = re.compile(rb"\[\s*(.?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TextInput:
    """Either `texts` or lists of token ids."""

    texts: Sequence[str] = ()
    tokens: Sequence[Sequence[int]] = ()


_text = msgspec.json.Decoder(str).decode
_texts = msgspec.json.Decoder(list[str]).decode
_token_list = msgspec.json.Decoder(list[TokenId]).decode
_token_lists = msgspec.json.Decoder(list[list[TokenId]]).decode


def decode_input(raw: Raw, most: int, param: str) -> TextInput:
    """What the field `param` holds: one to `most` items, none of them empty. Raises `InvalidRequestError`."""
    try:
        found = _parse(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words = f"must be a string, strings, token ids or lists of token ids: {shorten(str(error))}"
        raise InvalidRequestError(f"{param} {words}", param) from None
    count = len(found.texts) or len(found.tokens)
    if count == 0:
        raise InvalidRequestError(f"{param} is empty; send at least one text or list of token ids", param)
    if count > most:
        words = f"has {count} items, the most is {most}; send them in several requests"
        raise InvalidRequestError(f"{param} {words}", param)
    if not all(found.texts) or not all(found.tokens):
        raise InvalidRequestError(f"{param} holds an empty item; leave it out", param)
    return found


def _parse(raw: Raw) -> TextInput:
    start = _START.match(raw)
    if start is None:
        return TextInput(texts=(_text(raw),))
    if start.group(1) == b'"':
        return TextInput(texts=_texts(raw))
    if start.group(1) == b"[":
        return TextInput(tokens=_token_lists(raw))
    tokens = _token_list(raw)
    return TextInput(tokens=(tokens,) if tokens else ())
