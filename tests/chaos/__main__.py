"""`python -m tests.chaos`: plays all rows in full and prints one table; exit code 1 where a row did not pass."""

import argparse
import asyncio
import secrets
import sys

from rich.console import Console

from tests.chaos.run import ROWS, run
from tests.chaos.table import show


def main() -> None:
    """Reads the command line and plays."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rows", default=",".join(names), metavar="A,B", help=f"of: {', '.join(names)}")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="share of each row's faults [1]")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(2**31), metavar="N", help="repeats a run's faults"
    )
    known = parser.parse_args()
    wanted = [name.strip() for name in known.rows.split(",")]
    unknown = [name for name in wanted if name not in names]
    if unknown or known.scale <= 0:
        parser.error(f"no such row: {unknown[0]!r}" if unknown else f"--scale {known.scale} is not above 0")
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(f"seed {known.seed}", highlight=False)
    results = asyncio.run(run([row for row in ROWS if row.name in wanted], known.scale, known.seed, console))
    show(console, results)
    raise SystemExit(0 if all(result.passed for result in results) else 1)


if __name__ == "__main__":
    main()
