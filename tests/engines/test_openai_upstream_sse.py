"""Server-sent events, cut anywhere."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import ExecutionError
from engines.openai_upstream_sse import LONGEST_EVENT, EventParser

STREAM = (
    "data: {}\n\n: beat\n\nevent: x\ndata:Grüße 👩‍🚀\nid: 3\n\ndata\ndata:  two\n\n\n\nerror: {1}\n\ndata: rest"
).encode()
EVENTS = [b"{}", "Grüße 👩‍🚀".encode(), b"\n two", b"{1}"]


def feed(pieces: Sequence[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@given(st.lists(st.integers(0, 200)), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_the_same_however_the_bytes_are_cut(cuts: list[int], end: bytes) -> None:
    stream = STREAM.replace(b"\n", end)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert feed(pieces) == EVENTS


def test_every_byte_alone() -> None:
    assert feed([bytes([byte]) for byte in STREAM]) == EVENTS


def test_an_event_is_given_as_soon_as_it_ends() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\r\n") == []
    assert parser.feed(b"\r") == [b"a"]
    assert parser.feed(b"\ndata: b\n\n") == [b"b"]


def test_what_never_ends_is_refused() -> None:
    with pytest.raises(ExecutionError, match="more than 8388608 bytes"):
        feed([b"x" * 2**16] * (LONGEST_EVENT // 2**16 + 1))


def test_lines_that_end_but_make_no_event_are_bounded_too() -> None:
    with pytest.raises(ExecutionError, match="more than 8388608 bytes"):
        feed([b"data: " + b"x" * 2**16 + b"\n"] * (LONGEST_EVENT // 2**16 + 1))


def test_many_events_are_not_counted_as_one() -> None:
    assert len(feed([b"data: " + b"x" * 2**20 + b"\n\n"] * 20)) == 20
