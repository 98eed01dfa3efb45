"""The whole corpus, once, with good requests between; `python -m tests.hostile` repeats it and looks at memory."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.hostile.cases import Case
from tests.hostile.corpus import corpus
from tests.hostile.scene import attacked, wrong
from tests.hostile.send import Wire

_EACH = 20
"""Hostile requests between two rounds of good ones."""


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with attacked(tmp_path_factory.mktemp("hostile")) as server:
        wire = Wire.to(server)
        yield wire
        wire.close()
        assert server.process.poll() is None
        assert '"level":"error"' not in server.log.read_text()


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return count(1)


def test_names_are_unique() -> None:
    names = [case.name for case in corpus()]
    assert len(names) >= 300
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", corpus(), ids=[case.name for case in corpus()])
def test_hostile(wire: Wire, numbers: Iterator[int], case: Case) -> None:
    assert wire.fault(case) == ""
    number = next(numbers)
    if number % _EACH == 0:
        assert wrong(wire, number) == ""
