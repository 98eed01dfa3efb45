"""What the headers of a call say about where it may be answered."""

import math
import re
from collections.abc import Mapping

from engines.calls import Parameter
from service.access.credentials import API_KEY, AUTHORIZATION, SECRET
from service.api.headers import RequestHeaders
from service.errors import InvalidRequestError
from service.types import ANYONE, CacheControl, Hints, Tenant

_FLAGS = {b"1": True, b"true": True, b"0": False, b"false": False}
_VARIANT = re.compile(rb"[\x21-\x7e]{1,256}")


def hints_of(headers: RequestHeaders, min_quality: float = 0.0, tenant: Tenant = ANYONE) -> Hints:
    """The hints of a call: `x-explain`, `x-variant`, `x-min-quality`, `cache-control`, and all headers but those
    that hold keys, for the rules of a route.

    `min_quality`: what the body says; the stricter counts. Raises `InvalidRequestError`.
    """
    if AUTHORIZATION in headers or API_KEY in headers:
        headers = {name: value for name, value in headers.items() if name not in SECRET}
    variant = headers.get(b"x-variant")
    quality = headers.get(b"x-min-quality")
    explain = headers.get(b"x-explain")
    control = headers.get(b"cache-control")
    if variant is None and quality is None and explain is None and control is None:
        return Hints(headers, "", min_quality, tenant)
    if quality is not None:
        min_quality = max(min_quality, _quality(quality))
    return Hints(
        headers,
        "" if variant is None else _variant(variant),
        min_quality,
        tenant,
        explain=explain is not None and _flag(explain),
        cache="" if control is None else _cache_control(control),
    )


def _cache_control(value: bytes) -> CacheControl:
    """The stricter of what is understood; RFC 9111 has the rest ignored."""
    words = {word.strip().lower() for word in value.split(b",")}
    if b"no-store" in words:
        return "no-store"
    return "no-cache" if b"no-cache" in words else ""


def wants_explanation(headers: RequestHeaders) -> bool:
    """Does `x-explain` ask for one? False where it says nothing that is understood."""
    explain = headers.get(b"x-explain")
    return explain is not None and _FLAGS.get(explain.lower(), False)


def quality_of(parameters: Mapping[str, Parameter]) -> float:
    """The request parameter `min_quality`, 0 where it is absent; raises `InvalidRequestError`."""
    if not parameters:
        return 0.0
    value = parameters.get("min_quality", 0)
    if isinstance(value, bool | str) or not 0 <= value <= 1:
        raise InvalidRequestError(
            f"parameter 'min_quality' is {value!r}; it must be a number from 0 to 1", "min_quality"
        )
    return float(value)


def _flag(value: bytes) -> bool:
    flag = _FLAGS.get(value.lower())
    if flag is None:
        raise InvalidRequestError(f"header x-explain is {_shown(value)}; it must be 1, or left out")
    return flag


def _variant(value: bytes) -> str:
    if not _VARIANT.fullmatch(value):
        raise InvalidRequestError(f"header x-variant is {_shown(value)}; it must be the name of a model of the route")
    return value.decode()


def _quality(value: bytes) -> float:
    try:
        quality = float(value)
    except ValueError:
        quality = math.nan
    if not 0 <= quality <= 1:
        raise InvalidRequestError(f"header x-min-quality is {_shown(value)}; it must be a number from 0 to 1")
    return quality


def _shown(value: bytes) -> str:
    return repr(value[:64].decode("latin-1"))
