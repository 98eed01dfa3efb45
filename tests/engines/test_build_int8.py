"""int8 of an encoder of one's own, end to end: from its folder and texts to models, their figures and the report."""

import json
import random
import resource
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from engines.build.embedding import embed
from engines.build.manifest import read_manifest
from engines.build.report import report
from engines.model_manifest import sha256_of
from engines.repository import scan
from tests.engines.tiny_encoder import Shape, build, failure, write_encoder
from tests.engines.vnni import NEEDS_VNNI

SHAPE = Shape(
    hidden=32,
    layers=3,
    heads=4,
    inner=64,
    window=80,
    words=(
        "loan",
        "rate",
        "home",
        "what",
        "is",
        "the",
        "of",
        "a",
        "my",
        "for",
        "first",
        "fixed",
        "year",
        "due",
        "?",
        "when",
    ),
)
NAMES = ["own_onnx_int8", "own_openvino_int8", "own_torch_int8"]


def write_texts(path: Path, count: int, seed: int) -> Path:
    source = random.Random(seed)
    texts = (" ".join(source.choices(SHAPE.words, k=source.randint(1, 30))) for _ in range(count))
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "source", seed=5, shape=SHAPE)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_texts(tmp_path / "texts.txt", 200, seed=1)


def manifest(repository: Path, name: str) -> dict[str, Any]:
    found = read_manifest(repository / name / "1")
    assert found is not None
    return found


@NEEDS_VNNI
def test_another_encoder_becomes_int8_on_every_engine(
    source: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models"
    shown = build(source, repository, names=["own_onnx", *NAMES], calibration=texts)
    assert shown.count("built in") == 4
    entries = scan(repository)
    assert [(entry.name, entry.error) for entry in entries] == [(name, "") for name in ("own_onnx", *NAMES)]
    asked = ["what is the rate of my home loan ?", "a fixed rate for the first year", "when is it due ?"]
    found = [embed(asked, entry.folder, lambda step, done, total: None) for entry in entries]
    assert found[0].shape == (3, SHAPE.hidden)
    for other in found[1:]:
        assert (found[0] * other).sum(axis=1).min() >= 0.98
        assert np.abs(found[0] - other).max() > 1e-6
    for name in NAMES[:2]:
        made = manifest(repository, name)
        assert made["origin"]["settings"]["calibration"] == "texts.txt"
        assert made["gate"]["texts"]["source"] == "texts.txt"
        assert 40 <= made["gate"]["texts"]["count"] <= 50
        assert len(made["layers"]["before"]) == len(made["layers"]["after"]) == 2 * SHAPE.layers + 1
        assert 0 < max(made["layers"]["after"]) < 0.2
        assert 0.9 < made["by_chance"]["cosine_min"] < 0.9999999
    monkeypatch.chdir(tmp_path)
    report("own", repository, Console(file=StringIO()))
    assert (tmp_path / "build" / "report" / "own.html").read_text().count("<svg") == 4


def test_other_texts_make_another_int8_and_leave_fp32_alone(source: Path, texts: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    names = ["own_onnx", "own_onnx_int8"]
    build(source, repository, names=names, calibration=texts)
    before = [sha256_of(repository / name / "1" / "model.onnx") for name in names]
    assert build(source, repository, names=names, calibration=texts).count("up to date") == 2
    write_texts(texts, 150, seed=2)
    shown = build(source, repository, names=names, calibration=texts)
    assert "own_onnx: up to date" in shown
    assert "own_onnx_int8: built in" in shown
    after = [sha256_of(repository / name / "1" / "model.onnx") for name in names]
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_int8_without_texts_learns_from_made_up_ones(source: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    build(source, repository, names=["own_onnx_int8"])
    assert manifest(repository, "own_onnx_int8")["origin"]["settings"]["calibration"] == "made up"


def test_a_calibration_file_of_no_rows_leaves_the_old_version(source: Path, texts: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    build(source, repository, names=["own_onnx_int8"], calibration=texts)
    before = sha256_of(repository / "own_onnx_int8" / "1" / "manifest.json")
    empty = tmp_path / "empty.csv"
    empty.write_text("text,category\n")
    assert "empty.csv: holds 0 texts" in failure(source, repository, names=["own_onnx_int8"], calibration=empty)
    assert sha256_of(repository / "own_onnx_int8" / "1" / "manifest.json") == before


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_disk_that_is_full_when_int8_is_written(source: Path, texts: Path, tmp_path: Path, name: str) -> None:
    repository = tmp_path / "models"
    failure(source, repository, names=[name], calibration=texts, max_drop=-1.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        assert "disk" in failure(source, repository, names=[name], calibration=texts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in repository.iterdir()] == [".build"]


def test_a_second_run_after_an_interruption_makes_only_what_is_left(source: Path, texts: Path, tmp_path: Path) -> None:
    """An int8 model that fails its gate leaves the graph and the embeddings to the next run."""
    repository = tmp_path / "models"
    failure(source, repository, names=["own_onnx_int8"], calibration=texts, max_drop=-1.0)
    kept = {path: path.stat().st_mtime_ns for path in (repository / ".build").rglob("*") if path.is_file()}
    assert len([path for path in kept if path.name.startswith("embeddings-")]) == 2
    build(source, repository, names=["own_onnx_int8"], calibration=texts)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert json.loads((repository / "own_onnx_int8" / "1" / "manifest.json").read_bytes())["layers"]["after"]
