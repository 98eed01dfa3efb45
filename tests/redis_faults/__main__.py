"""`python -m tests.redis_faults`: plants every fault of a Redis under load; exit code 1 where one costs an answer."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.redis_faults.faults import FAULTS
from tests.redis_faults.load import Phase
from tests.redis_faults.run import Result, run

COLUMNS = (
    "requests",
    "errors",
    "p99 before",
    "p99 during",
    "added",
    "added p50",
    "shared before",
    "shared during",
    "recovery",
)


def main() -> None:
    """Reads the command line and plays."""
    parser = argparse.ArgumentParser(prog="python -m tests.redis_faults", description=__doc__)
    parser.add_argument("--faults", default=",".join(FAULTS), metavar="A,B", help=f"of: {', '.join(FAULTS)}")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="X", help="of each fault, and before it [4]")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of all faults; p99 is the median [5]")
    known = parser.parse_args()
    names = [name.strip() for name in known.faults.split(",")]
    unknown = [name for name in names if name not in FAULTS]
    if unknown or known.seconds <= 0:
        parser.error(f"no such fault: {unknown[0]!r}" if unknown else f"--seconds {known.seconds} is not above 0")
    results = asyncio.run(_played(names, known.seconds, known.rounds))
    show(Console(width=None if sys.stdout.isatty() else 140), results)
    raise SystemExit(0 if all(result.passed for result in results) else 1)


async def _played(names: Sequence[str], seconds: float, rounds: int) -> list[Result]:
    return [result async for result in run(names, seconds, rounds)]


def show(console: Console, results: Sequence[Result]) -> None:
    """The table. Times are of new questions at the first gateway, in ms, medians of the rounds; `shared`: of what one
    gateway stored, the share that the other found; `recovery`: the longest, in s."""
    table = Table("fault", title="A Redis that fails, under load")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name in dict.fromkeys(result.name for result in results):
        table.add_row(name, *_cells([result for result in results if result.name == name]))
    console.print(table)
    for result in results:
        for error in result.errors[:5]:
            console.print(f"  {result.name}: {error}", highlight=False, markup=False)


def _cells(rounds: Sequence[Result]) -> list[str]:
    phases = [phase for result in rounds for phase in (result.before, result.during, result.after)]
    p99 = [(result.before.quantile(0.99), result.during.quantile(0.99)) for result in rounds]
    p50 = [(result.before.quantile(0.5), result.during.quantile(0.5)) for result in rounds]
    times = [before for before, _ in p99], [during for _, during in p99], *map(_added, (p99, p50))
    return [
        f"{sum(phase.requests for phase in phases):,}",
        f"{sum(len(result.errors) for result in rounds)}",
        *(f"{median(column):.1f}" for column in times),
        _shared([result.before for result in rounds]),
        _shared([result.during for result in rounds]),
        f"{max(result.recovery for result in rounds):.2f}",
    ]


def _added(pairs: Sequence[tuple[float, float]]) -> list[float]:
    return [during - before for before, during in pairs]


def _shared(phases: Sequence[Phase]) -> str:
    hits, asked = (
        sum(counts) for counts in zip(*((p.verdicts["hit"], p.verdicts.total()) for p in phases), strict=True)
    )
    return f"{hits / max(1, asked):.0%}"


if __name__ == "__main__":
    main()
