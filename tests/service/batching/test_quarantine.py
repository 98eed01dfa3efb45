import numpy as np
import pytest

from service.batching.memory import RECOVERY, MemoryBudget
from service.batching.quarantine import SECONDS, Quarantine, fingerprint
from service.errors import EngineFailedError


def row(value: float) -> dict[str, np.ndarray]:
    return {"x": np.array([[value]], np.float32)}


def test_a_row_is_refused_for_a_while_and_no_other_is() -> None:
    quarantine = Quarantine()
    quarantine.check([row(1.0)], 0.0)
    quarantine.refuse(row(1.0), "it failed", 0.0)
    with pytest.raises(EngineFailedError, match=r"it failed; the same input is refused for another 50 s") as refused:
        quarantine.check([row(2.0), row(1.0)], SECONDS - 50.0)
    assert not refused.value.retryable
    quarantine.check([row(2.0)], 1.0)
    assert quarantine.count(SECONDS - 1.0) == 1
    quarantine.check([row(1.0)], SECONDS)
    assert quarantine.count(SECONDS) == 0


def test_a_row_that_is_found_again_is_refused_for_longer() -> None:
    quarantine = Quarantine()
    quarantine.refuse(row(1.0), "first", 0.0)
    quarantine.refuse(row(2.0), "other", 1.0)
    quarantine.refuse(row(1.0), "again", 30.0)
    assert quarantine.count(SECONDS + 2.0) == 1


def test_the_quarantine_is_bounded() -> None:
    quarantine = Quarantine()
    for value in range(5000):
        quarantine.refuse(row(value), "it failed", 0.0)
    assert quarantine.count(0.0) == 1024
    quarantine.check([row(0.0)], 0.0)


def test_a_row_that_fails_alone_is_guilty_only_if_the_engine_answered_others_since() -> None:
    quarantine = Quarantine()
    assert not quarantine.unclear(row(1.0), 10)
    assert not quarantine.unclear(row(1.0), 10)
    assert not quarantine.unclear(row(2.0), 11)
    assert quarantine.unclear(row(1.0), 11)


def test_fingerprints_tell_names_types_shapes_and_contents_apart() -> None:
    rows = [
        {"x": np.zeros((1, 4), np.float32)},
        {"y": np.zeros((1, 4), np.float32)},
        {"x": np.zeros((1, 4), np.int32)},
        {"x": np.zeros((2, 2), np.float32)},
        {"x": np.array([[b"ab", b"c"]], object)},
        {"x": np.array([[b"a", b"bc"]], object)},
    ]
    assert len({fingerprint(one) for one in rows}) == len(rows)
    assert fingerprint(rows[0]) == fingerprint({"x": np.zeros((1, 4), np.float32)})


def test_the_memory_budget_halves_and_recovers() -> None:
    budget = MemoryBudget()
    budget.failed(1.0, 100.0)
    assert budget.at(100.0) == 0.5
    budget.failed(0.25, 101.0)
    assert budget.at(101.0) == 0.125
    assert budget.at(101.0 + RECOVERY) == 0.25
    assert budget.at(101.0 + 3 * RECOVERY) == 1.0
    for _ in range(100):
        budget.failed(1.0, 0.0)
    assert budget.at(0.0) > 0
