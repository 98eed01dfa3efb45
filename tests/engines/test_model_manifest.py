"""manifest.json at load: a version whose files are not the ones that it lists is not served."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from engines.build.manifest import Origin, describe, write_manifest
from engines.errors import ModelLoadError
from engines.model_manifest import check_manifest


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "1"
    (folder / "inner").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "inner" / "config.json").write_text("{}")
    write_manifest(folder, describe(folder, Origin({}, {}, {}, "")))
    return folder


def edit(version: Path, change: Callable[[dict[str, object]], object]) -> None:
    path = version / "manifest.json"
    content = json.loads(path.read_bytes())
    change(content["artefacts"])
    path.write_text(json.dumps(content))


def test_what_was_built_passes(version: Path) -> None:
    check_manifest(version)


def test_a_folder_without_manifest_passes(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    check_manifest(tmp_path)


def test_a_manifest_of_somebody_else_passes(version: Path) -> None:
    (version / "manifest.json").write_text('{"name": "a web page"}')
    check_manifest(version)


def test_what_is_hidden_or_of_python_is_no_model_file(version: Path) -> None:
    for name in (".gitkeep", ".cache/x", "__pycache__/model.pyc"):
        (version / name).parent.mkdir(exist_ok=True)
        (version / name).touch()
    check_manifest(version)


def test_one_changed_byte(version: Path) -> None:
    (version / "model.onnx").write_bytes(b"Weights")
    with pytest.raises(ModelLoadError) as caught:
        check_manifest(version)
    found, wanted = sha256(b"Weights").hexdigest(), sha256(b"weights").hexdigest()
    assert str(caught.value) == (
        f"'model.onnx' in '1' is not the file that was built: its SHA-256 is {found}, manifest.json says {wanted}; "
        "build it anew (batchyard build NAME), or remove manifest.json to serve the files as they are"
    )


@pytest.mark.parametrize("name", ["more.safetensors", "inner/more.json"])
def test_a_file_more(version: Path, name: str) -> None:
    (version / name).touch()
    with pytest.raises(ModelLoadError, match=f"does not list '{name}', which is there; build it anew"):
        check_manifest(version)


def test_a_file_less(version: Path) -> None:
    (version / "inner" / "config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"'inner/config.json' is not in '1'"):
        check_manifest(version)


def test_a_file_that_is_a_link_to_elsewhere(version: Path, tmp_path: Path) -> None:
    (version / "model.onnx").rename(tmp_path / "model.onnx")
    (version / "model.onnx").symlink_to(tmp_path / "model.onnx")
    with pytest.raises(ModelLoadError, match="a link that leads out"):
        check_manifest(version)


@pytest.mark.parametrize("name", ["/etc/passwd", "../1/model.onnx", ""])
def test_a_manifest_that_looks_elsewhere(version: Path, name: str) -> None:
    edit(version, lambda made: made.update({name: made["model.onnx"]}))
    with pytest.raises(ModelLoadError, match="no path inside its folder"):
        check_manifest(version)


@pytest.mark.parametrize("artefact", [None, [], {}, {"sha256": 5}])
def test_an_artefact_without_a_digest(version: Path, artefact: object) -> None:
    edit(version, lambda made: made.update({"model.onnx": artefact}))
    with pytest.raises(ModelLoadError, match=r"gives no sha256 of 'model.onnx'"):
        check_manifest(version)


@pytest.mark.parametrize("text", ["", "{", '{"artefacts": ', "[" * 100_000, "\xff"])
def test_a_manifest_that_cannot_be_read(version: Path, text: str) -> None:
    (version / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelLoadError, match=r"manifest.json in '1' cannot be read"):
        check_manifest(version)


def test_artefacts_that_are_no_object(version: Path) -> None:
    (version / "manifest.json").write_text('{"artefacts": []}')
    with pytest.raises(ModelLoadError, match="artefacts is no object"):
        check_manifest(version)
