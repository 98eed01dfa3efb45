"""The body of POST /v1/completions as it is on the wire, and its prompts."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Raw

from engines.text import TokenIds
from service.api.generation_fields import OpenAIFields
from service.api.json_faults import decode_json
from service.api.openai_input import decode_input
from service.errors import InvalidRequestError
from service.generating import MOST_ANSWERS

_MOST_IDS = 2**18
"""Token ids of one request: as many as are decoded in some 20 ms."""


class CompletionRequest(OpenAIFields, kw_only=True):
    """The whole body. `best_of` may only say what `n` says; a `suffix` is refused if not null."""

    prompt: Raw
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    best_of: Annotated[int, Meta(ge=1, le=MOST_ANSWERS)] | None = None
    suffix: None = None


_HINTS = MappingProxyType({"suffix": "put all of the text into the prompt"})
_decode = msgspec.json.Decoder(CompletionRequest).decode


def decode_completion(body: bytes) -> CompletionRequest:
    """The request in `body`. Raises `InvalidRequestError` with the field at fault as `param`."""
    return decode_json(_decode, body, _HINTS)


def decode_prompts(raw: Raw, most: int) -> Sequence[str | TokenIds]:
    """The prompts, one to `most`, none of them empty. Raises `InvalidRequestError`."""
    data = bytes(raw)
    if b'"' not in data and data.count(b",") >= _MOST_IDS:
        raise InvalidRequestError(f"prompt has more than {_MOST_IDS} token ids; send fewer", "prompt")
    given = decode_input(raw, most, "prompt")
    return given.texts or [np.array(ids, np.int64) for ids in given.tokens]
