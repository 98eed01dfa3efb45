"""OpenAI's embeddings request as it is on the wire, and its answer."""

import base64
from typing import Annotated, Literal

import msgspec
import numpy as np
import orjson
from msgspec import Meta, Raw, Struct

from engines.tensor import Array
from service.api.json_faults import decode_json


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


_decode = msgspec.json.Decoder(_StrictMessage).decode


def decode_embeddings(body: bytes) -> EmbeddingsMessage:
    """The request in `body`. Raises `InvalidRequestError` with the field at fault as `param`."""
    return decode_json(_decode, body)


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
