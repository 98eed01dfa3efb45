"""The index of earlier questions, and the count of what agrees, with numbers."""

import logging
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.semantic.agreement import Agreement
from service.semantic.facts import facts_of
from service.semantic.index import MemoryIndex, Near, Vector

NONE = facts_of("")
SIZE = 8


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def vector(*values: float) -> Vector:
    whole = np.zeros(SIZE, np.float32)
    whole[: len(values)] = values
    return whole / np.float32(np.linalg.norm(whole))


def key(found: Near | None) -> bytes:
    """Of what was found, b"" for nothing."""
    return found.key if found else b""


def index_of(entries: int = 4, time: Time | None = None) -> MemoryIndex:
    return MemoryIndex(entries, 10.0, time or Time())


def test_the_nearest_of_its_bucket_over_the_threshold() -> None:
    index = index_of()
    index.add(b"b", vector(1, 0.5), NONE, b"far")
    index.add(b"b", vector(1, 0.1), NONE, b"near")
    index.add(b"other", vector(1), NONE, b"elsewhere")
    found = index.find(b"b", vector(1), NONE, 0.9)
    assert found
    assert (found.key, round(found.similarity, 3)) == (b"near", 0.995)
    assert index.find(b"b", vector(0, 0, 1), NONE, 0.9) is None
    assert index.find(b"none", vector(1), NONE, 0.9) is None


def test_a_currency_that_only_one_names() -> None:
    index = index_of()
    index.add(b"b", vector(1), facts_of("I paid $50"), b"dollars")
    assert key(index.find(b"b", vector(1), facts_of("I paid 50"), 0.9)) == b"dollars"
    assert index.find(b"b", vector(1), facts_of("I paid €50"), 0.9) is None


def test_the_oldest_makes_room_and_time_ends_all() -> None:
    time = Time()
    index = index_of(2, time)
    for number, name in enumerate((b"1", b"2", b"3")):
        time.now = number
        index.add(b"b", vector(1, number), NONE, name)
    assert len(index) == 2
    assert index.find(b"b", vector(1), NONE, 0.9) is None
    time.now = 11.0
    assert index.find(b"b", vector(1, 1), NONE, 0.99) is None
    assert key(index.find(b"b", vector(1, 2), NONE, 0.99)) == b"3"
    time.now = 12.0
    assert index.find(b"b", vector(1, 2), NONE, 0.99) is None
    assert len(index) == 0


def test_vectors_of_another_size_begin_anew() -> None:
    index = index_of()
    index.add(b"b", vector(1), NONE, b"old")
    wide = np.eye(1, 16, dtype=np.float32)[0]
    assert index.find(b"b", wide, NONE, 0.5) is None
    index.add(b"b", wide, NONE, b"new")
    assert (len(index), key(index.find(b"b", wide, NONE, 0.5))) == (1, b"new")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 9), st.booleans()), max_size=60))
def test_it_is_as_a_list_would_be(steps: Sequence[tuple[int, int, int, bool]]) -> None:
    """Adding and removing in any order: the index finds what a search through a plain list finds."""
    index, plain = index_of(4), list[tuple[bytes, bytes, Vector]]()
    for bucket, number, direction, add in steps:
        name, what, where = b"%d" % number, b"%d" % bucket, vector(1, direction)
        plain = [one for one in plain if one[1] != name]
        if add:
            plain = [*plain[-3:], (what, name, where)]
            index.add(what, where, NONE, name)
        else:
            index.remove(name)
        assert len(index) == len(plain)
        scores = {one: float(place @ where) for home, one, place in plain if home == what}
        found = index.find(what, where, NONE, 0.0)
        assert (found is not None) == bool(scores)
        if found:
            assert scores[found.key] == pytest.approx(max(scores.values()), abs=1e-5)


def test_it_turns_itself_off_and_a_reload_turns_it_on(caplog: pytest.LogCaptureFixture) -> None:
    loads = [0]
    agreement = Agreement("chat", 0.8, 5, lambda: loads[0])
    assert (agreement.share, agreement.off) == (1.0, False)
    for agreed in (True, False, False, True):
        agreement.checked(agreed)
    assert not agreement.off  # too few to tell
    agreement.checked(True)
    assert agreement.off
    agreement.checked(False)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "60 % of 5 checked answers agree, its floor is 80 %" in warnings[0].getMessage()
    loads[0] += 1
    assert not agreement.off
    assert (agreement.checks, agreement.agreed, agreement.share) == (6, 3, 1.0)
