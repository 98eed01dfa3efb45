"""Measures the engines and the gateway in one run: `make bench`, or `python -m benchmarks`."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks import bank_day, cached, generation, identity, minilm, report, server
from benchmarks.ceiling import Variant, open_variants
from benchmarks.texts import BANKING77, load_texts

REPOSITORY = Path("model_repository")
TEXTS = 768


def main() -> None:
    """Prints the table and writes it under benchmarks/results."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    texts = load_texts(TEXTS)
    notes = [f"texts: {'Banking77' if BANKING77.exists() else 'made up, lengths as in Banking77'}"]
    with tempfile.TemporaryDirectory() as folder, Progress(console=console, transient=True) as progress:
        task = progress.add_task("opening the engines", total=None)
        found = list(open_variants(REPOSITORY, f"{minilm.ROUTE}_", texts, minilm.CHECKED))
        variants = [one for one in found if isinstance(one, Variant)]
        notes += [f"skipped {one}" for one in found if isinstance(one, str)]
        total = minilm.steps(len(variants)) + 2 * minilm.ROUNDS + 2 * bank_day.ROUNDS + generation.steps()
        progress.update(task, total=total, description="starting the server")

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        with server.running() as url:
            rows, remarks = minilm.measure(url, variants, texts, Path(folder), step)
            more, others = _bank_day(url, step)
            rows, remarks = [*rows, *more], [*remarks, *others]
        for variant in variants:
            variant.close()
        skipped = identity.reason_to_skip()
        rows += [] if skipped else [identity.measure(Path(folder), step), *cached.measure(Path(folder), step)]
        notes += [*remarks, *([f"skipped identity and cache hits: {skipped}"] if skipped else [])]
        more, remarks = _generation(texts, step)
    rows, notes = [*rows, *more], [*notes, *remarks]
    report.show(console, rows, notes)
    console.print(f"written to {report.save(rows, notes)}")


def _bank_day(url: str, step: minilm.Step) -> tuple[list[report.Row], list[str]]:
    skipped = bank_day.reason_to_skip()
    return ([], [f"skipped a day of a bank: {skipped}"]) if skipped else bank_day.measure(url, step)


def _generation(texts: Sequence[str], step: generation.Step) -> tuple[list[report.Row], list[str]]:
    skipped = generation.reason_to_skip(REPOSITORY)
    return ([], [f"skipped generation: {skipped}"]) if skipped else generation.measure(REPOSITORY, texts, step)


if __name__ == "__main__":
    main()
