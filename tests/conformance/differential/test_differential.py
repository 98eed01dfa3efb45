"""The differential test: a real Triton and we are asked the same, and differ only where it is written down."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.differential.compare import Finding, compare
from tests.conformance.differential.differences import DIFFERENCES, Aspect
from tests.conformance.differential.exchange import Seen
from tests.conformance.differential.run import exchanges, findings
from tests.conformance.served import serving_ours, serving_triton
from tests.triton.install import NotAvailableError

DOCUMENT = Path(__file__).parents[3] / "docs" / "compatibility.md"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Finding]]:
    """What differs; skips where no real Triton can be had."""
    theirs, ours = (tmp_path_factory.mktemp(name) for name in ("theirs", "ours"))
    try:
        with serving_triton(theirs) as triton, serving_ours(ours, kind="python") as here:
            yield list(findings(exchanges(), triton, here))
    except NotAvailableError as error:
        pytest.skip(f"no real Triton to compare with: {error}")


def test_there_are_enough_requests_and_no_two_have_one_name() -> None:
    names = [exchange.name for exchange in exchanges()]
    assert len(names) >= 500
    assert len(set(names)) == len(names)


def test_what_differs_is_written_down(found: list[Finding]) -> None:
    unknown = [f for f in found if not any(d.explains(f.name, f.aspect, f.path) for d in DIFFERENCES)]
    assert not unknown, f"{len(unknown)} differences that nobody wrote down:\n" + "\n".join(map(str, unknown))


def test_what_is_written_down_differs(found: list[Finding]) -> None:
    for difference in DIFFERENCES:
        for aspect in difference.aspects:
            seen = [f for f in found if f.aspect == aspect and difference.explains(f.name, aspect, f.path)]
            assert seen, difference


def test_the_document_has_them_all() -> None:
    text = " ".join(DOCUMENT.read_text("utf-8").split())
    assert [d.words for d in DIFFERENCES if d.words not in text] == []


@pytest.mark.parametrize(
    ("ours", "aspects"),
    [
        (Seen("200", {"a": 1, "ns": 3}, b"x"), []),
        (Seen("400", {"a": 1, "ns": 2}, b"x"), ["status"]),
        (Seen("200", {"a": 2, "ns": 2}, b"x"), ["body"]),
        (Seen("200", {"a": 1, "ns": 2}, b"y"), ["body"]),
        (Seen("400", {"error": "no"}), ["status", "text"]),
    ],
)
def test_a_difference_is_seen(ours: Seen, aspects: list[Aspect]) -> None:
    assert [f.aspect for f in compare("x", Seen("200", {"a": 1, "ns": 2}, b"x"), ours)] == aspects
