"""A short run of what the OpenAPI page suggests; `make hostile` sends 2,000."""

from pathlib import Path

import pytest

from tests.hostile.fuzz import fuzz
from tests.hostile.scene import attacked


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore::hypothesis.errors.HypothesisWarning")
def test_answers_are_those_of_the_page(tmp_path: Path) -> None:
    with attacked(tmp_path) as server:
        found = fuzz(server, 300)
        assert server.process.poll() is None
    assert found.sent >= 300
    assert found.faults == {}
    assert [status for status in found.statuses if status >= 500] == []
    assert found.statuses[200] > 50
