"""`batchyard report`: what the builds of a family measured, as a table and as a page with plots."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engines.build.errors import BuildError
from engines.build.manifest import read_manifest
from engines.build.report_page import page
from engines.build.variants import split_name

FOLDER = Path("build") / "report"
VERSION = "1"


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a model: the key in the manifest, its heading, and how a number is written."""

    key: str
    heading: str
    form: str
    scale: float = 1.0


COLUMNS = (
    Column("cosine_mean", "cosine, mean", "{:.4f}"),
    Column("cosine_min", "least", "{:.4f}"),
    Column("rank_correlation", "rank corr.", "{:.4f}"),
    Column("label_agreement", "same label", "{:.1%}"),
    Column("accuracy", "accuracy", "{:.1%}"),
    Column("latency_ms", "ms for 1", "{:.2f}"),
    Column("per_second", "a second, 32", "{:,.0f}"),
    Column("bytes", "MB", "{:.1f}", 1e-6),
    Column("resident_bytes", "memory MB", "{:.0f}", 1e-6),
    Column("invariance", "batch mates", "{:.0e}"),
)


@dataclass(frozen=True, slots=True)
class Built:
    """A model that was built, and what its manifest says."""

    name: str
    manifest: Mapping[str, Any]

    @property
    def figures(self) -> Mapping[str, Any]:
        return self.manifest.get("gate") or {}

    def cells(self) -> list[str]:
        """Its figures in the order of `COLUMNS`, "" for one that was not measured."""
        found = [(column, self.figures.get(column.key)) for column in COLUMNS]
        return ["" if value is None else column.form.format(value * column.scale) for column, value in found]


def report(family: str, repository: Path, console: Console) -> None:
    """Prints the table of the models of `family` and writes the page to ./build/report/; raises `BuildError`."""
    models = read_built(family, repository)
    title = f"{family}, compared with its fp32 original"
    table = Table("model", *(column.heading for column in COLUMNS), title=title, box=box.SIMPLE, pad_edge=False)
    table.columns[0].no_wrap = True
    table.columns[0].min_width = max((len(model.name) for model in models), default=0)
    for column in table.columns[1:]:
        column.justify = "right"
    for model in models:
        table.add_row(escape(model.name), *model.cells())
    console.print(table)
    remarks = notes(models)
    for note in remarks:
        console.print(escape(note), highlight=False, soft_wrap=True)
    path = FOLDER / f"{family}.html"
    headings = ["model", *(column.heading for column in COLUMNS)]
    text = page(family, headings, [[model.name, *model.cells()] for model in models], remarks, models)
    _write(path, text)
    console.print(f"page with plots: {escape(str(path))}", highlight=False, soft_wrap=True)


def read_built(family: str, repository: Path) -> list[Built]:
    """The built models of `family` in a repository, by name; raises `BuildError` where there is none."""
    found = []
    for folder in sorted(repository.glob(f"{family}_*")):
        of, variant = split_name(folder.name)
        manifest = read_manifest(folder / VERSION)
        if of == family and variant is not None and manifest is not None:
            found.append(Built(folder.name, manifest))
    if not found:
        raise BuildError(f"no model of {family!r} is built in {repository}; build some: batchyard build {family}")
    return found


def notes(models: Sequence[Built]) -> list[str]:
    """What the figures alone do not say."""
    said = []
    for model in models:
        figures = model.figures
        settings = model.manifest["origin"]["settings"]
        if "not_measured" in figures:
            said.append(f"{model.name}: not measured: {figures['not_measured']}")
        if figures.get("batch_dependent"):
            said.append(f"{model.name}: batch_dependent: its answers depend on what else is in the batch")
        if "calibration" in settings:
            said.append(f"{model.name}: calibrated with {_texts(settings['calibration'])}")
        if "by_chance" in model.manifest and "cosine_min" in figures:
            said.append(f"{model.name}: {_choice(figures, model.manifest['by_chance'])}")
    sources = dict.fromkeys(
        (model.figures["texts"]["count"], model.figures["texts"]["source"]) for model in models if model.figures
    )
    said += [f"compared on {count} texts: {_texts(source)}" for count, source in sources]
    originals = [value for model in models if (value := model.figures.get("original_accuracy")) is not None]
    if originals:
        said.append(f"accuracy of the original: {originals[0]:.1%}")
    return said


def _choice(chosen: Mapping[str, float], chance: Mapping[str, float]) -> str:
    better = "chosen to cover the corpus" if chosen["cosine_mean"] >= chance["cosine_mean"] else "chosen by chance"
    return (
        f"samples chosen to cover the corpus: cosine {chosen['cosine_mean']:.5f}, least {chosen['cosine_min']:.5f};"
        f" chosen by chance: {chance['cosine_mean']:.5f}, least {chance['cosine_min']:.5f}; better here: {better}"
    )


def _texts(source: str) -> str:
    return "made-up messages to a bank; give your own for figures that hold for you" if source == "made up" else source


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise BuildError(f"{path}: cannot be written: {error.strerror}; check the disk's space") from error
