"""Goodput and p99 over the offered load, as one SVG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Point(Protocol):
    """What is drawn of one load; see `benchmarks.overload.Level`."""

    @property
    def offered(self) -> float: ...

    @property
    def goodput(self) -> float: ...

    @property
    def p99_ms(self) -> float: ...


def plot(points: Sequence[Point], deadline_ms: float, path: Path) -> Path:
    """Writes the plot; needs matplotlib (`pip install 'batchyard[bench]'`)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    offered = [point.offered for point in points]
    with mpl.rc_context({"svg.hashsalt": "batchyard", "font.size": 9}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(offered, offered, color="0.75", linestyle="--", label="offered")
        left.plot(offered, [point.goodput for point in points], marker="o", label="right and in time")
        left.set(xlabel="requests a second", ylabel="answers a second", ylim=(0, 1.6 * max(p.goodput for p in points)))
        left.legend(frameon=False)
        right.axhline(deadline_ms, color="0.75", linestyle="--", label="deadline")
        right.plot(offered, [point.p99_ms for point in points], marker="o", label="p99 of the answers")
        right.set(xlabel="requests a second", ylabel="milliseconds", ylim=(0, None))
        right.legend(frameon=False)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})
    return path
