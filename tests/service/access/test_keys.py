"""Keys: whose one is, and where it is found in a call."""

import pytest

from service.access.credentials import key_of
from service.access.keys import PREFIX, KeyRing, digest_of, new_key
from service.errors import UnauthenticatedError


def test_new_keys_are_long_different_and_fit_into_headers() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith(PREFIX) and len(key) == len(PREFIX) + 43 for key in keys)
    assert all(key.removeprefix(PREFIX).replace("-", "").replace("_", "").isalnum() for key in keys)


def test_a_ring_knows_its_keys_and_no_other() -> None:
    keys = [new_key().encode() for _ in range(50)]
    ring = KeyRing([(digest_of(key), number) for number, key in enumerate(keys)])
    assert [ring.owner(key) for key in keys] == list(range(50))
    wrong = [keys[0][:-1], keys[0] + b"x", keys[0].upper(), b"", digest_of(keys[0]), digest_of(keys[0]).hex().encode()]
    assert [ring.owner(key) for key in wrong] == [None] * len(wrong)


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer by_k"},
        {b"authorization": b"bearer   by_k "},
        {b"authorization": b"BEARER by_k", b"x-api-key": b"by_k"},
        {b"x-api-key": b"by_k"},
    ],
)
def test_a_key_is_found(headers: dict[bytes, bytes]) -> None:
    assert key_of(headers) == b"by_k"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "this server needs a key; send one as 'authorization: Bearer KEY' or 'x-api-key: KEY'"),
        ({b"x-api-key": b""}, "this server needs a key"),
        ({b"authorization": b""}, "holds no bearer key"),
        ({b"authorization": b"Bearer"}, "holds no bearer key"),
        ({b"authorization": b"Bearer "}, "holds no bearer key"),
        ({b"authorization": b"Basic c2VjcmV0"}, "holds no bearer key"),
        ({b"authorization": b"secret"}, "holds no bearer key"),
        ({b"authorization": b"Bearer secret", b"x-api-key": b"other"}, "hold different keys"),
        ({b"authorization": b"Bearer " + b"secret" * 100}, "the key has 600 bytes"),
    ],
)
def test_what_holds_no_key_is_told_and_not_shown(headers: dict[bytes, bytes], said: str) -> None:
    with pytest.raises(UnauthenticatedError, match=said) as caught:
        key_of(headers)
    assert "secret" not in str(caught.value)
    assert "c2Vj" not in str(caught.value)
