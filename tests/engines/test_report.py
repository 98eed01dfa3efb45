"""`batchyard report`: the table has every model, the page needs nothing from elsewhere."""

import re
import xml.etree.ElementTree as ElementTree
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from engines.build.errors import BuildError
from engines.build.manifest import FORMAT, write_manifest
from engines.build.report import report
from engines.build.report_plots import Line, Point, bars, lines, scatter

FIGURES: dict[str, Any] = {
    "texts": {"source": "dev.csv", "count": 150, "sha256": ""},
    "bytes": 23_400_000,
    "cosine_mean": 0.99812,
    "cosine_min": 0.99,
    "rank_correlation": 0.9991,
    "label_agreement": 0.985,
    "accuracy": 0.91,
    "original_accuracy": 0.92,
    "invariance": 2e-3,
    "batch_dependent": True,
    "latency_ms": 1.234,
    "per_second": 1540.4,
    "resident_bytes": 99_000_000,
}
CHANCE = {"cosine_mean": 0.9, "cosine_min": 0.8}
LAYERS = {"before": [0.0, 0.2, 0.3], "after": [0.0, 0.02, 0.03]}


def put(repository: Path, name: str, gate: dict[str, Any], **more: Any) -> None:
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    settings = {"calibration": "made up"} if more else {}
    write_manifest(folder, {"format": FORMAT, "origin": {"settings": settings}, "gate": gate, **more})


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "models", "tiny_onnx", FIGURES | {"batch_dependent": False, "invariance": 0.0})
    put(
        tmp_path / "models",
        "tiny_openvino_int8",
        FIGURES,
        layers=LAYERS,
        by_chance={"cosine_mean": 0.9, "cosine_min": 0.8},
    )
    put(tmp_path / "models", "tiny_tensorrt_fp16", {**about(), "not_measured": "no CUDA device"})
    put(tmp_path / "models", "other_onnx", FIGURES)
    (tmp_path / "models" / "tiny_torch" / "1").mkdir(parents=True)
    return tmp_path / "models"


def about() -> dict[str, Any]:
    return {name: FIGURES[name] for name in ("texts", "bytes")}


def shown_and_page(repository: Path) -> tuple[str, str]:
    shown = StringIO()
    report("tiny", repository, Console(file=shown, width=200))
    found = re.search(r"page with plots: (\S+)", shown.getvalue())
    assert found is not None
    return shown.getvalue(), Path(found[1]).read_text("utf-8")


def test_the_table_has_every_model_of_the_family(repository: Path) -> None:
    shown, _ = shown_and_page(repository)
    row = next(line for line in shown.splitlines() if "tiny_openvino_int8" in line)
    assert row.split() == [
        *("tiny_openvino_int8", "0.9981", "0.9900", "0.9991", "98.5%", "91.0%"),
        *("1.23", "1,540", "23.4", "99", "2e-03"),
    ]
    assert "other_onnx" not in shown
    assert "tiny_torch" not in shown
    assert "tiny_openvino_int8: batch_dependent" in shown
    assert "tiny_onnx: batch_dependent" not in shown
    assert "tiny_openvino_int8: calibrated with made-up messages" in shown
    assert "by chance: 0.90000, least 0.80000; better here: chosen to cover the corpus" in shown
    assert "tiny_tensorrt_fp16: not measured: no CUDA device" in shown
    assert "accuracy of the original: 92.0%" in shown


def test_the_page_has_table_and_plots_and_needs_nothing_else(repository: Path) -> None:
    _, page = shown_and_page(repository)
    assert page.count("<svg") == 3
    assert re.findall(r"(?:src|href|url|@import|<script|<link)", page) == []
    assert re.findall(r"https?://[^\"]*", page) == ["http://www.w3.org/2000/svg"] * 3
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawing)
    assert "before and after compensation" in page
    assert "<td>1,540</td>" in page


def test_names_are_escaped(repository: Path) -> None:
    put(repository, "tiny_torch_int8", FIGURES | {"texts": {"source": "<b>.csv", "count": 1, "sha256": ""}})
    shown, page = shown_and_page(repository)
    assert "<b>.csv" in shown
    assert "&lt;b&gt;.csv" in page


def test_a_family_that_is_not_built_is_one_line(repository: Path) -> None:
    with pytest.raises(BuildError, match=r"no model of 'tin' is built in .*; build some: batchyard build tin"):
        report("tin", repository, Console(file=StringIO()))


def test_a_page_that_cannot_be_written_is_one_line(repository: Path) -> None:
    (repository.parent / "build").write_text("")
    with pytest.raises(BuildError, match=r"tiny\.html: cannot be written"):
        report("tiny", repository, Console(file=StringIO()))


def test_points_lie_where_their_numbers_say() -> None:
    drawn = scatter([Point("slow", 100, 0.99), Point("fast", 200, 0.999)], "speed", "cosine")
    slow, fast = ((float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn))
    assert slow[0] < fast[0]
    assert slow[1] > fast[1]


@pytest.mark.parametrize(
    "drawn",
    [
        scatter([Point("one", 0, 1)], "x", "y"),
        scatter([Point("a", 5, 1), Point("b", 5, 1)], "x", "y"),
        lines([Line("flat", [0.0, 0.0])], "x", "y"),
        bars([("none", 0.0)]),
    ],
    ids=["one", "same", "flat", "zero"],
)
def test_plots_of_little_are_plots(drawn: str) -> None:
    assert "nan" not in drawn
    ElementTree.fromstring(drawn)
