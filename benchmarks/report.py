"""The one table, and the same as JSON."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results")

_PACKAGES = ("batchyard", "onnxruntime", "openvino", "openvino-genai", "torch", "uvicorn", "xllamacpp")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `per_second`: the median of `rounds`. `ratio`: to a ceiling of this run."""

    what: str
    per_second: float
    rounds: tuple[float, ...]
    ratio: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    padding: float | None = None
    errors: int = 0


def show(console: Console, rows: Sequence[Row], notes: Sequence[str]) -> None:
    """Prints the table and the notes under it."""
    table = Table(title=f"Batchyard on {machine()}", title_justify="left", box=box.SIMPLE, pad_edge=False)
    table.add_column("what", no_wrap=True)
    for name in ("per second", "rounds", "ratio", "p50 ms", "p99 ms", "padding", "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.what,
            f"{row.per_second:,.0f}",
            " ".join(f"{value:.0f}" for value in row.rounds),
            _number(row.ratio, ".2f"),
            _number(row.p50_ms, ".2f"),
            _number(row.p99_ms, ".2f"),
            _number(row.padding, ".1%"),
            str(row.errors),
        )
    console.print(table)
    for note in notes:
        console.print(f"- {note}", markup=False, highlight=False)


def save(rows: Sequence[Row], notes: Sequence[str]) -> Path:
    """Writes the run under benchmarks/results and returns the file."""
    now = datetime.now(UTC)
    content = {
        "time": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "rows": [asdict(row) for row in rows],
        "notes": list(notes),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(content, indent=2))
    return path


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def machine() -> str:
    """Cores, processor and Python, in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{len(os.sched_getaffinity(0))} cores of {processor}, Python {platform.python_version()}"
