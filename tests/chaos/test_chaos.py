"""A small chaos run: every row, a twelfth of its faults, within two minutes. `make chaos` plays them all."""

import secrets

import pytest
from rich.console import Console

from tests.chaos.ledger import Outcome
from tests.chaos.run import ROWS, run
from tests.chaos.table import faults, show

SCALE = 0.08
NEVER = (Outcome.WRONG, Outcome.HANG, Outcome.TWICE)


async def test_a_twelfth_of_the_chaos(capsys: pytest.CaptureFixture[str]) -> None:
    seed = secrets.randbelow(2**31)
    with capsys.disabled():
        console = Console(width=140)
        console.print(f"\nseed {seed}; again: python -m tests.chaos --scale {SCALE} --seed {seed}", highlight=False)
        results = await run(ROWS, SCALE, seed, console)
        show(console, results)
    told = [f"{result.name}: {fault}" for result in results for fault in faults(result)]
    for result in results:
        assert {outcome: result.ledger.count(outcome) for outcome in NEVER} == dict.fromkeys(NEVER, 0), told
        assert result.ledger.lost == [], told
        assert result.differences == [], told
    assert all(result.passed for result in results), told
    assert [result.name for result in results if result.name in {row.name for row in ROWS}] == [r.name for r in ROWS]
