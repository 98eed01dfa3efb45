"""The same in short, as a test: no fault costs an answer, and each ends soon after its cause."""

import shutil

import pytest

from tests.redis_faults.faults import FAULTS
from tests.redis_faults.run import run
from tests.redis_server import BINARY


@pytest.mark.skipif(shutil.which(BINARY) is None, reason=f"{BINARY} is not there: apt-get install redis-server")
async def test_no_fault_of_redis_costs_an_answer() -> None:
    results = [result async for result in run(list(FAULTS), 1.0)]
    assert [result.name for result in results] == list(FAULTS)
    for result in results:
        assert result.errors == []
        assert result.passed, f"{result.name}: used again only after {result.recovery:.1f} s"
        assert result.during.requests > 0
    assert sum(result.before.verdicts["hit"] for result in results) > 0
