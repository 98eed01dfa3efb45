"""The layout of sequences that keep their row of the batch."""

import numpy as np
import pytest

from engines.errors import InvalidOutputError
from engines.slotted import Slotted


def request(value: float) -> dict[str, np.ndarray]:
    return {
        "x": np.full((1, 2), value, np.float32),
        "READY": np.ones((1, 1), np.int32),
        "name": np.array([[b"n"]], object),
    }


def test_each_request_lies_in_its_row_and_the_others_are_blank() -> None:
    layout = Slotted((3, 1), {"READY": -1})
    batch = layout.collate([request(7), request(5)])
    assert (batch.size, layout.slots) == (4, 4)
    assert batch.inputs["x"][:, 0].tolist() == [0, 5, 0, 7]
    assert batch.inputs["READY"][:, 0].tolist() == [-1, 1, -1, 1]
    assert batch.inputs["name"][:, 0].tolist() == [b"", b"n", b"", b"n"]


def test_answers_of_blank_rows_are_dropped() -> None:
    parts = Slotted((3, 1), {}).split({"y": np.arange(8).reshape(4, 2)})
    assert [part["y"].tolist() for part in parts] == [[[6, 7]], [[2, 3]]]


def test_a_lone_request_in_the_first_row_is_not_copied() -> None:
    given = request(1)
    assert Slotted((0,), {}).collate([given]).inputs["x"] is given["x"]


def test_an_answer_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidOutputError, match="wanted 4 rows"):
        Slotted((3,), {}).split({"y": np.zeros((1, 2))})
