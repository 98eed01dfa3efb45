"""The key that a call brings."""

from collections.abc import Mapping

from service.access.keys import LONGEST
from service.errors import UnauthenticatedError

AUTHORIZATION, API_KEY = b"authorization", b"x-api-key"
SECRET = frozenset({AUTHORIZATION, API_KEY})
"""Headers that hold keys: models, rules of routes and other servers never see them."""
_WANTED = "send one as 'authorization: Bearer KEY' or 'x-api-key: KEY'"


def key_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The key in the headers, names in lower case; raises `UnauthenticatedError`, which never shows what was found."""
    given = headers.get(API_KEY)
    authorization = headers.get(AUTHORIZATION)
    if authorization is not None:
        bearer = _bearer(authorization)
        if given is not None and given != bearer:
            raise UnauthenticatedError("the headers authorization and x-api-key hold different keys; send one of them")
        given = bearer
    if not given:
        raise UnauthenticatedError(f"this server needs a key; {_WANTED}")
    if len(given) > LONGEST:
        raise UnauthenticatedError(f"the key has {len(given)} bytes, which no key has; {_WANTED}")
    return given


def _bearer(authorization: bytes) -> bytes:
    """RFC 6750: the scheme in any case, a space, the key."""
    scheme, _, key = authorization.strip().partition(b" ")
    key = key.strip()
    if scheme.lower() != b"bearer" or not key:
        raise UnauthenticatedError(f"the header authorization holds no bearer key; {_WANTED}")
    return key
