"""The gate: nothing that is worse than declared takes its place, and what was there stays."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.batch import Packed
from engines.build.corpora import Corpus
from engines.build.encoder_folder import encoder_folder
from engines.build.errors import BuildError
from engines.build.gate import INVARIANT, Gate, Quality, cosine, rank_correlation, why_not_here
from engines.build.manifest import digests, read_manifest
from engines.build.materials import FamilyMaterials
from engines.build.measure import first_fit, measure
from engines.errors import ModelLoadError
from engines.model_config import Packing
from engines.model_manifest import sha256_of
from engines.repository import CONFIG_FILE
from tests.engines.tiny_encoder import HIDDEN, build, failure, write_encoder

TEXTS = ("where is my card?", "i lost my pin", "fees", "top up " * 15, "a new card", "is my pin new")
ENSEMBLE = """
platform: "ensemble"
max_batch_size: 8
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "label" data_type: TYPE_STRING dims: [ 1 ] } ]
ensemble_scheduling { step [
  { model_name: "tiny" model_version: -1 input_map { key: "text" value: "text" }
    output_map { key: "embedding" value: "embedding" } },
  { model_name: "head" model_version: -1 input_map { key: "embedding" value: "embedding" }
    output_map { key: "label" value: "label" } } ] }
"""
HEAD = """
backend: "linear"
max_batch_size: 4
input [ { name: "embedding" data_type: TYPE_FP32 dims: [ %d ] } ]
output [
  { name: "label" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "logits" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" }
]
"""


def gate_of(model: Path) -> dict[str, Any]:
    manifest = read_manifest(model / "1")
    assert manifest is not None
    found: dict[str, Any] = manifest["gate"]
    return found


def materials(source: Path, repository: Path) -> FamilyMaterials:
    folder = encoder_folder(source)
    return FamilyMaterials("tiny", folder, digests(folder.root, folder.files), repository, Corpus("made up", TEXTS))


def write_head(repository: Path) -> None:
    """A head that looks at the first number of an embedding, and an ensemble that runs it."""
    from safetensors.numpy import save_file

    (repository / "head" / "1").mkdir(parents=True)
    (repository / "head" / CONFIG_FILE).write_text(HEAD % HIDDEN)
    (repository / "head" / "labels.txt").write_text("low\nhigh\n")
    weight = np.zeros((2, HIDDEN), np.float32)
    weight[1, 0] = 1
    save_file({"weight": weight, "bias": np.zeros(2, np.float32)}, repository / "head" / "1" / "head.safetensors")
    (repository / "both" / "1").mkdir(parents=True)
    (repository / "both" / CONFIG_FILE).write_text(ENSEMBLE)


def test_the_figures_are_in_the_manifest(source: Path, repository: Path) -> None:
    build(source, repository, names=["tiny_torch_int8"])
    found = gate_of(repository / "tiny_torch_int8")
    assert 0.98 <= found["cosine_min"] <= found["cosine_mean"] < 0.999999
    assert 0.9 < found["rank_correlation"] < 0.999999
    assert found["label_agreement"] is None
    assert 0 <= found["invariance"] < 1e-3
    assert found["batch_dependent"] is (found["invariance"] > INVARIANT)
    assert found["bytes"] > 1000
    assert min(found["latency_ms"], found["per_second"], found["resident_bytes"]) > 0
    assert found["texts"]["source"] == "made up"


def test_a_model_below_its_tolerance_fails_and_the_old_one_stays(source: Path, repository: Path) -> None:
    build(source, repository, names=["tiny_torch_int8"])
    model = repository / "tiny_torch_int8"
    config = (model / CONFIG_FILE).read_text()
    (model / CONFIG_FILE).write_text(config.replace('"0.98"', '"0.9999999"'))
    shutil.rmtree(source)
    write_encoder(source, seed=1)
    before = sha256_of(model / "1" / "manifest.json"), sha256_of(model / "1" / "model.safetensors")
    message = failure(source, repository, names=["tiny_torch_int8"])
    assert "tiny_torch_int8: its least cosine to the fp32 original is 0.9999" in message
    assert "batchyard.tolerance 0.9999999; what was there stays" in message
    assert (sha256_of(model / "1" / "manifest.json"), sha256_of(model / "1" / "model.safetensors")) == before
    assert [path.name for path in sorted(model.iterdir())] == ["1", CONFIG_FILE, "tokenizer.json"]


def test_a_drop_above_the_most_allowed_fails_also_once_built(source: Path, repository: Path) -> None:
    names = ["tiny_torch_int8"]
    assert "points of mean cosine" in failure(source, repository, names=names, max_drop=1e-6)
    assert not (repository / "tiny_torch_int8").exists()
    build(source, repository, names=names, max_drop=2.0)
    assert "--max-drop allows 1e-06" in failure(source, repository, names=names, max_drop=1e-6)
    assert "up to date" in build(source, repository, names=names)


def test_labels_count_where_a_head_is_there(source: Path, repository: Path, tmp_path: Path) -> None:
    write_head(repository)
    checked = tmp_path / "labelled.csv"
    checked.write_text("text,category\n" + "".join(f"{text},high\n" for text in TEXTS))
    build(source, repository, "onnxruntime", check=checked)
    found = gate_of(repository / "tiny_onnx")
    assert found["label_agreement"] == 1
    assert found["accuracy"] == found["original_accuracy"]
    assert 0 < found["accuracy"] < 1
    assert found["texts"] == {"source": "labelled.csv", "count": len(TEXTS), "sha256": found["texts"]["sha256"]}


def test_other_texts_are_compared_without_building_again(source: Path, repository: Path, tmp_path: Path) -> None:
    build(source, repository, "onnxruntime")
    checked = tmp_path / "texts.txt"
    checked.write_text("\n".join(TEXTS))
    made = (repository / "tiny_onnx" / "1" / "model.onnx").stat().st_ino
    assert "tiny_onnx: measured in" in build(source, repository, "onnxruntime", check=checked)
    assert gate_of(repository / "tiny_onnx")["texts"]["source"] == "texts.txt"
    assert (repository / "tiny_onnx" / "1" / "model.onnx").stat().st_ino == made
    assert "up to date" in build(source, repository, "onnxruntime", check=checked)
    assert "up to date" in build(source, repository, "onnxruntime")


@pytest.mark.parametrize("damage", [b"no onnx at all", b""])
def test_a_corrupt_graph_does_not_pass(source: Path, repository: Path, damage: bytes) -> None:
    build(source, repository, "onnxruntime")
    model = repository / "tiny_onnx"
    (model / "1" / "model.onnx").write_bytes(damage)
    with pytest.raises(ModelLoadError, match="is not an ONNX file") as raised:
        pass_gate(model, source, repository)
    assert "\n" not in str(raised.value)


def test_weights_outside_the_models_folder_do_not_pass(source: Path, repository: Path, tmp_path: Path) -> None:
    import onnx

    build(source, repository, "onnxruntime")
    model = repository / "tiny_onnx"
    graph = onnx.load(model / "1" / "model.onnx")
    onnx.external_data_helper.convert_model_to_external_data(graph, location="weights.data", size_threshold=0)
    onnx.save(graph, model / "1" / "model.onnx")
    (model / "1" / "weights.data").rename(tmp_path / "weights.data")
    os.symlink(tmp_path / "weights.data", model / "1" / "weights.data")
    with pytest.raises(ModelLoadError, match=r"weights\.data"):
        pass_gate(model, source, repository)


def pass_gate(model: Path, source: Path, repository: Path) -> dict[str, Any]:
    gate = Gate("tiny", materials(source, repository), Corpus("made up", TEXTS), repository, None)
    return gate.admit(model, lambda step, done, total: None)


def test_without_a_device_or_a_package_the_figures_say_so(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime")
    model = repository / "tiny_onnx"
    config = (model / CONFIG_FILE).read_text()
    (model / CONFIG_FILE).write_text(config.replace("KIND_CPU", "KIND_GPU"))
    if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        pytest.skip("there is a CUDA device")
    found = pass_gate(model, source, repository)
    assert found["not_measured"] == "no CUDA device"
    assert "cosine_min" not in found
    assert why_not_here(model)


def test_what_could_not_be_measured_is_once_it_can(source: Path, repository: Path) -> None:
    """Built where there is no torch, as `make serve` does it; torch comes later."""
    code = (
        "import sys; from importlib.machinery import PathFinder; from pathlib import Path;"
        "find = PathFinder.find_spec;"
        "PathFinder.find_spec = staticmethod(lambda n, *a: None if n == 'torch' else find(n, *a));"
        "from tests.engines.tiny_encoder import build;"
        f"build(Path({str(source)!r}), Path({str(repository)!r}), 'torch')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    model = repository / "tiny_torch"
    assert gate_of(model)["not_measured"] == "the torch package is not installed"
    assert "tiny_torch: measured in" in build(source, repository, "torch")
    assert gate_of(model)["cosine_min"] > 0.9999


def test_measured_embeddings_are_in_the_order_of_the_texts(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime")
    found = measure(repository / "tiny_onnx", TEXTS)
    wanted = materials(source, repository).embeddings(TEXTS, lambda step, done, total: None)
    assert np.abs(found.embeddings - wanted).max() < 1e-5
    assert found.invariance < 1e-5


@pytest.mark.parametrize(
    ("lengths", "least", "rows", "width"),
    [([5], 0, 1, 16), ([5, 12, 11], 0, 2, 16), ([3] * 5, 0, 2, 16), ([5], 32, 1, 32), ([40, 30], 32, 2, 64)],
)
def test_rows_are_filled_in_order(lengths: Sequence[int], least: int, rows: int, width: int) -> None:
    layout = first_fit(lengths, Packing((16, 32, 64), 512), least)
    assert (layout.rows, layout.width) == (rows, width)
    assert_no_overlap(layout, lengths)


def assert_no_overlap(layout: Packed, lengths: Sequence[int]) -> None:
    taken = np.zeros((layout.rows, layout.width), int)
    for place, length in zip(layout.placements, lengths, strict=True):
        taken[place.row, place.start : place.start + length] += 1
        assert place.segment < layout.width // 4
    assert taken.max() == 1
    assert taken.sum() == sum(lengths)


def test_order_counts_for_the_rank_correlation() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    assert rank_correlation(rows, 3 * rows) == pytest.approx(1)
    assert abs(rank_correlation(rows, rows[::-1])) < 0.9
    assert rank_correlation(rows[:1], rows[:1]) == 1


def test_an_answer_of_zeros_is_below_every_tolerance() -> None:
    rows = np.ones((2, 4), np.float32)
    assert cosine(rows, 5 * rows) == pytest.approx(1)
    assert np.isnan(cosine(rows, 0 * rows)).all()


def test_no_figure_is_worse_than_every_bound(source: Path, repository: Path) -> None:
    gate = Gate("tiny", materials(source, repository), Corpus("made up", TEXTS), repository, None)
    with pytest.raises(BuildError, match="least cosine"):
        gate.check(dict.fromkeys(Quality.__slots__, float("nan")), -1.0)


@pytest.mark.parametrize(
    ("quality", "drop"),
    [
        (Quality(0.99, 0.9, 1.0, 0.95, 0.90, 0.92), (2.0, "accuracy")),
        (Quality(0.99, 0.9, 1.0, 0.95, None, None), (5.0, "label agreement")),
        (Quality(0.99, 0.9, 1.0, None, None, None), (1.0, "mean cosine")),
    ],
)
def test_the_drop_is_of_what_counts_most(quality: Quality, drop: tuple[float, str]) -> None:
    assert quality.drop() == (pytest.approx(drop[0]), drop[1])
