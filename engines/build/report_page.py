"""The page of `batchyard report`: one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol

from engines.build.report_plots import Line, Point, bars, lines, scatter

_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1f2328, #e6e8eb); --faint: light-dark(#d5d9de, #3a4048);
  --mark: light-dark(#1f6feb, #6cb0ff); --other: light-dark(#bc4c00, #ff9a57); --page: light-dark(#fff, #16191d); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 68rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child { text-align: left; }
figure { margin: 2rem 0; } figcaption { margin-bottom: .5rem; font-weight: 600; }
svg { width: 100%; max-width: 46rem; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
"""


class Model(Protocol):
    """A built model as the page needs it."""

    @property
    def name(self) -> str: ...

    @property
    def figures(self) -> Mapping[str, Any]: ...

    @property
    def manifest(self) -> Mapping[str, Any]: ...


def page(
    family: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    remarks: Sequence[str],
    models: Sequence[Model],
) -> str:
    """The page's text. `rows`: the table, a model a row; `models`: the same, for the plots."""
    title = f"{family}: models compared with the fp32 original"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>",
            _table(headings, rows),
            f"<ul>{''.join(f'<li>{escape(remark)}</li>' for remark in remarks)}</ul>",
            *_plots(models),
            "</html>\n",
        ]
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def _plots(models: Sequence[Model]) -> list[str]:
    measured = [model for model in models if "cosine_min" in model.figures]
    plots = []
    if measured:
        points = [
            Point(model.name, float(model.figures["per_second"]), float(model.figures["cosine_mean"]))
            for model in measured
        ]
        plots.append(_figure("Accuracy against throughput", scatter(points, "texts a second, 32", "mean cosine")))
    sizes = [(model.name, model.figures["bytes"] / 1e6) for model in models if "bytes" in model.figures]
    plots.append(_figure("Size of the files, MB", bars(sizes)))
    for model in models:
        layers = model.manifest.get("layers")
        if layers:
            series = [Line(name.capitalize(), found) for name, found in layers.items() if found]
            caption = f"{model.name}: relative error of each layer's output, before and after compensation"
            plots.append(_figure(caption, lines(series, "layer normalisation, from the input", "error")))
    return plots


def _figure(caption: str, drawing: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>\n{drawing}\n</figure>"
