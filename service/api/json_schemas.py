"""JSON schemas that callers send: taken as JSON objects of a sane size; what they may say is the engine's to judge."""

from typing import Any

import msgspec
from msgspec import Raw

from service.errors import InvalidRequestError
from service.generating import LONGEST_SCHEMA

_DEEPEST = 64
_MOST_PARTS = 10_000
"""Objects and lists; their brackets are counted, in texts, too."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def decode_schema(raw: Raw, param: str) -> dict[str, Any]:
    """The schema in `raw`; raises `InvalidRequestError` that blames `param`."""
    data = bytes(raw)
    if len(data) > LONGEST_SCHEMA:
        raise InvalidRequestError(f"{param} has {len(data)} bytes, the most is {LONGEST_SCHEMA}", param)
    parts = data.count(b"{") + data.count(b"[")
    if parts > _MOST_PARTS:
        raise InvalidRequestError(f"{param} holds {parts} objects and lists, the most is {_MOST_PARTS}", param)
    try:
        schema = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{param} is no JSON schema: {error}", param) from None
    except RecursionError:
        raise _too_deep(param) from None
    if parts > _DEEPEST and _is_too_deep(schema):
        raise _too_deep(param)
    return schema


def schema_text(raw: Raw, param: str) -> str:
    """The same as JSON, in which no key is twice."""
    return msgspec.json.encode(decode_schema(raw, param)).decode()


def _is_too_deep(schema: object) -> bool:
    level = [schema]
    for _ in range(_DEEPEST):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        level = inner
    return bool(level)


def _too_deep(param: str) -> InvalidRequestError:
    return InvalidRequestError(f"{param} is nested deeper than {_DEEPEST}", param)
