"""OpenAI's embeddings request as it is on the wire, and its answer."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
import orjson
from msgspec import Meta, Raw, Struct

from engines.tensor import Array
from service.errors import InvalidRequestError

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_START = re.compile(rb"\[\s*(.?)", re.DOTALL)
_FIELD = re.compile(r"\$\.(\w+)|field `(\w+)`")


class EmbeddingsMessage(Struct):
    """The body of POST /v1/embeddings. The last two are accepted and not used."""

    model: str
    input: Raw
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None
    safety_identifier: str | None = None


class _StrictMessage(EmbeddingsMessage, forbid_unknown_fields=True):
    pass


@dataclass(frozen=True, slots=True)
class EmbeddingInput:
    """What is to be embedded: either `texts` or lists of token ids."""

    texts: Sequence[str] = ()
    tokens: Sequence[Sequence[int]] = ()


_decode = msgspec.json.Decoder(_StrictMessage).decode
_text = msgspec.json.Decoder(str).decode
_texts = msgspec.json.Decoder(list[str]).decode
_token_list = msgspec.json.Decoder(list[TokenId]).decode
_token_lists = msgspec.json.Decoder(list[list[TokenId]]).decode


def decode_embeddings(body: bytes) -> EmbeddingsMessage:
    """The request in `body`. Raises `InvalidRequestError` with the field at fault as `param`."""
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        param = next(filter(None, found.groups()), None) if found else None
        raise InvalidRequestError(f"the embeddings request is not right: {error}", param) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidRequestError("the body is nested too deep") from None


def decode_input(raw: Raw, most: int) -> EmbeddingInput:
    """What `input` holds: a text, texts, token ids, or lists of token ids; at most `most`, none of them empty."""
    try:
        found = _parse(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"input must be a string, strings, token ids or lists of token ids: {error}") from None
    count = len(found.texts) or len(found.tokens)
    if count == 0:
        raise _invalid("input is empty; send at least one text or list of token ids")
    if count > most:
        raise _invalid(f"input has {count} items, the most is {most}; send them in several requests")
    if not all(found.texts) or not all(found.tokens):
        raise _invalid("input holds an empty item; leave it out")
    return found


def _parse(raw: Raw) -> EmbeddingInput:
    start = _START.match(raw)
    if start is None:
        return EmbeddingInput(texts=(_text(raw),))
    if start.group(1) == b'"':
        return EmbeddingInput(texts=_texts(raw))
    if start.group(1) == b"[":
        return EmbeddingInput(tokens=_token_lists(raw))
    tokens = _token_list(raw)
    return EmbeddingInput(tokens=(tokens,) if tokens else ())


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, "input")


def encode_embeddings(vectors: Array, model: str, encoding: str, tokens: int) -> bytes:
    """OpenAI's answer for FP32 [n, d]; base64 is of little-endian float32."""
    rows = np.ascontiguousarray(vectors, np.dtype("<f4"))
    as_base64 = encoding == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.data).decode() if as_base64 else row,
        }
        for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": model, "usage": usage}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
