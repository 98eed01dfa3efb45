"""Decodes a JSON body, and says where it is wrong."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NoReturn, TypeVar

import msgspec

from service.errors import InvalidRequestError, UnsupportedError

Message = TypeVar("Message")

_NO_HINTS: Mapping[str, str] = MappingProxyType({})
_PLACE = re.compile(r" - at `(?:key` in `)?\$\.?([^`]*)`$")
_FIELD = re.compile(r"field `([^`]*)`")
_LONGEST = 400
"""Characters of the decoder's words that are shown: they may repeat a whole body."""
_SMALL = 16 * 1024
"""Bytes of a body that is searched for what is wrong with it."""
_FAR_TOO_DEEP = 200
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[][{}]')
"""A string that is cut off is a token, too: else it would be tried again from each quote in it."""
_STEPS = MappingProxyType({b"[": 1, b"{": 1, b"]": -1, b"}": -1})
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode_json(decode: Callable[[bytes], Message], body: bytes, hints: Mapping[str, str] = _NO_HINTS) -> Message:
    """The message in `body`. `hints`: fields that are not served, each with what to do instead.

    Raises `InvalidRequestError` with the path of the field at fault as `param`, such as `messages[0].content`.
    """
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), hints) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _find_fault(body)
        raise InvalidRequestError(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        param = _deepest(body)
        raise InvalidRequestError(f"{param or 'the body'} is nested too deep", param) from None


def _refusal(words: str, hints: Mapping[str, str]) -> InvalidRequestError:
    param = _param(words)
    root = re.split(r"[.[]", param or "", maxsplit=1)[0]
    if root in hints:
        return UnsupportedError(f"{root} is not served; {hints[root]}", root)
    return InvalidRequestError(f"the request is not right: {shorten(words)}", param)


def _param(words: str) -> str | None:
    """The path that the decoder names, up to where it goes into a dictionary, and the field if it names one there."""
    place = _PLACE.search(words)
    path = place.group(1).split("[...]")[0] if place else ""
    field = _FIELD.search(words[: place.start()] if place else words)
    name = shorten(field.group(1)) if field else ""
    return ".".join(filter(None, (path, name))) or None


def shorten(words: str) -> str:
    """The beginning of a text that may be long."""
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def _deepest(body: bytes) -> str | None:
    """The field of the body that goes on far too deep, if that can be seen at its beginning."""
    depth, field = 0, None
    for found in _TOKEN.finditer(body[:_SMALL]):
        token = found.group()
        if depth == 1 and token.startswith(b'"'):
            field = token[1:-1].decode(errors="replace")
        depth += _STEPS.get(token, 0)
        if depth > _FAR_TOO_DEEP:
            return field
    return None


def _find_fault(body: bytes) -> None:
    """Raises an error that names the field, for what Python reads as JSON though it is none."""
    if len(body) > _SMALL:
        return
    try:
        parsed = json.loads(body, parse_constant=_NotANumber)
    except (ValueError, RecursionError):
        return
    for path, value in _leaves(parsed):
        if isinstance(value, _NotANumber):
            _refuse(path, f"is {value.word}, which is no JSON number")
        if isinstance(value, str) and _SURROGATE.search(value):
            _refuse(path, "has a lone surrogate; send whole Unicode characters")


def _refuse(path: str, problem: str) -> NoReturn:
    raise InvalidRequestError(f"{path or 'the body'} {problem}", path or None)


class _NotANumber:
    """NaN or an infinity."""

    def __init__(self, word: str) -> None:
        self.word = word


def _leaves(parsed: object) -> Iterator[tuple[str, object]]:
    """All values in `parsed` that hold no others, each with its path."""
    left = [("", parsed)]
    while left:
        path, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{path}.{key}" if path else key, inner) for key, inner in value.items()]
            left += [(path, key) for key in value if _SURROGATE.search(key)]
        elif isinstance(value, list):
            left += [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
        else:
            yield path, value
