"""Fields that differ never give one key, however they are cut."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engines.tensor import BYTES, Array
from service.cache.key import framed, key_of, parameters_field, tensors_field

_FIELDS = st.lists(st.binary(max_size=12), max_size=6)


@given(_FIELDS, _FIELDS)
def test_only_equal_fields_have_equal_frames(one: list[bytes], other: list[bytes]) -> None:
    assert (framed(one) == framed(other)) == (one == other)
    assert (key_of(one) == key_of(other)) == (one == other)


@given(st.lists(_FIELDS, max_size=3), st.lists(_FIELDS, max_size=3))
def test_frames_within_frames_keep_apart(one: list[list[bytes]], other: list[list[bytes]]) -> None:
    assert (framed(map(framed, one)) == framed(map(framed, other))) == (one == other)


def _texts(*elements: bytes) -> Array:
    array = np.empty(len(elements), BYTES.numpy)
    array[:] = elements
    return array


def test_bytes_are_told_apart_by_element() -> None:
    cuts = [_texts(b"ab", b"c"), _texts(b"a", b"bc"), _texts(b"abc"), _texts(b"abc", b""), _texts(b"", b"abc")]
    assert len({tensors_field({"text": cut}) for cut in cuts}) == len(cuts)


def test_one_element_is_not_taken_for_its_frame() -> None:
    """A text of one element is hashed as it is; one of that very form among several must not meet it."""
    several = tensors_field({"text": _texts(b"a", b"b")})
    disguised = tensors_field({"text": _texts(b"\x01\x00\x00\x00a\x01\x00\x00\x00b")})
    assert several != disguised


def test_dtype_shape_and_name_count() -> None:
    zeros = np.zeros((2, 3), np.float32)
    unlike = [
        {"x": zeros},
        {"y": zeros},
        {"x": zeros.reshape(3, 2)},
        {"x": zeros.reshape(6)},
        {"x": zeros.view(np.int32)},
        {"x": zeros, "y": zeros},
        {"x": -zeros},
    ]
    assert len({tensors_field(tensors) for tensors in unlike}) == len(unlike)


def test_how_an_array_lies_in_memory_does_not_count() -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    assert tensors_field({"x": array}) == tensors_field({"x": np.asfortranarray(array)})
    assert tensors_field({"x": array, "y": array}) == tensors_field({"y": array, "x": array})


def test_parameters_count_by_type() -> None:
    values = [True, False, 1, 0, 1.0, 0.0, -0.0, "1", "True", "", 10**30]
    assert len({parameters_field({"p": value}) for value in values}) == len(values)
    assert parameters_field({"a": 1, "b": 2}) == parameters_field({"b": 2, "a": 1})
    assert parameters_field({}) != parameters_field({"": ""})
