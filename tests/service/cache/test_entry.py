"""What comes back from a store that may do anything: the same, or nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.tensor import DATA_TYPES
from service.cache.answer import answer_of, decoded, encoded, size_of
from service.cache.entry import Entry, sealed, unsealed
from service.types import DIRECT, NOT_CACHED, InferResponse

KEY = bytes(range(32))
ENTRY = Entry(b"some content", 1000.0, 0.25)
VALUE = sealed(KEY, ENTRY)


def response() -> InferResponse:
    outputs = {name: np.zeros((2, 3), kind.numpy) for name, kind in DATA_TYPES.items() if kind.size}
    outputs["text"] = np.array([[b"a", b""], [b"\xff\x00", b"long " * 50]], object)
    outputs["none"] = np.zeros((0, 4), np.float32)
    outputs["odd"] = np.array([np.nan, np.inf, -0.0], np.float32)
    return InferResponse("m", "3", outputs, "engine", tokens=7, parameters={"a": 1, "b": "two", "c": True, "d": 0.5})


def test_an_entry_comes_back_as_it_was() -> None:
    assert unsealed(KEY, VALUE) == ENTRY


@given(st.integers(0, len(VALUE) - 1), st.integers(1, 255))
def test_one_changed_byte_is_a_miss(at: int, by: int) -> None:
    broken = bytearray(VALUE)
    broken[at] ^= by
    assert unsealed(KEY, bytes(broken)) is None


@given(st.integers(0, len(VALUE) - 1))
def test_a_part_is_a_miss(length: int) -> None:
    assert unsealed(KEY, VALUE[:length]) is None
    assert unsealed(KEY, VALUE[length + 1 :]) is None


def test_the_value_of_another_key_is_a_miss() -> None:
    assert unsealed(KEY[::-1], VALUE) is None


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_times_that_are_no_times_are_a_miss(number: float) -> None:
    assert unsealed(KEY, sealed(KEY, Entry(b"", number, 0.0))) is None
    assert unsealed(KEY, sealed(KEY, Entry(b"", 0.0, number))) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_no_entry_and_no_answer(value: bytes) -> None:
    assert unsealed(KEY, value) is None
    assert decoded(value) is None or value == encoded(decoded(value))  # type: ignore[arg-type]


def test_an_answer_comes_back_bit_by_bit() -> None:
    answer = answer_of(response(), ())
    again = decoded(encoded(answer))
    assert again is not None
    assert (again.model, again.version, again.engine, again.tokens) == ("m", "3", "engine", 7)
    assert again.parameters == {"a": 1, "b": "two", "c": True, "d": 0.5}
    for name, array in response().outputs.items():
        found = again.outputs[name]
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes() if array.dtype != object else found.tolist() == array.tolist()


CONTENT = encoded(answer_of(response(), ()))


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_a_damaged_answer_raises_nothing(at: int, by: int) -> None:
    broken = bytearray(CONTENT)
    broken[at] ^= by
    decoded(bytes(broken))


def test_nobody_can_change_what_is_kept() -> None:
    given = response()
    answer = answer_of(given, ())
    given.outputs["FP32"][:] = 5
    given.outputs["text"][0, 0] = b"changed"
    for kept in (answer, decoded(encoded(answer))):
        assert kept is not None
        told = kept.response(NOT_CACHED, DIRECT)
        for array in told.outputs.values():
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.flags.writeable = True
        told.outputs.clear()
        again = kept.response(NOT_CACHED, DIRECT).outputs
        assert not again["FP32"].any()
        assert again["text"][0, 0] == b"a"


def test_only_what_was_wanted_is_kept() -> None:
    assert list(answer_of(response(), ("FP32", "text")).outputs) == ["FP32", "text"]


def test_what_parameters_say_takes_room_too() -> None:
    plain, wordy = response(), response()
    wordy.parameters = {"b": "two" * 1000}
    assert size_of(answer_of(wordy, ())) > size_of(answer_of(plain, ())) + 2000
