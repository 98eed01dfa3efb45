"""The one table of a run, and below it what is wrong in words."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.chaos.ledger import Outcome
from tests.chaos.scene import Result

_SAMPLES = 5
"""Requests of a row that are told apart where they ended as they must not."""


def show(console: Console, results: Sequence[Result]) -> None:
    """Prints the table, the notes, and what is wrong."""
    table = Table("row", title="request ledger")
    for column in ("requests", *Outcome, "lost", "server's counters agree"):
        table.add_column(column, justify="right")
    for result in results:
        ledger = result.ledger
        counts = [len(ledger.entries), *(ledger.count(outcome) for outcome in Outcome), len(ledger.lost)]
        table.add_row(result.name, *(f"{count:,}" for count in counts), "no" if result.differences else "yes")
    console.print(table)
    for result in results:
        for note in result.notes:
            console.print(f"  {note}", highlight=False, markup=False)
    for result in results:
        for line in faults(result):
            console.print(f"  {result.name}: {line}", highlight=False, markup=False, soft_wrap=True)


def faults(result: Result) -> list[str]:
    """What is wrong with a row, a line each; empty where it passed."""
    surprises = [entry for entry in result.ledger.entries if entry.lost or not entry.expected]
    more = [f"... and {len(surprises) - _SAMPLES} more requests"] if len(surprises) > _SAMPLES else []
    told = [str(entry) for entry in surprises[:_SAMPLES]]
    return [*result.problems, *result.differences, *result.ledger.odd[:_SAMPLES], *told, *more]
