import sys
from pathlib import Path

import pytest

from engines import BACKENDS, Backend, open_engine
from engines.base import EngineOptions
from engines.config.pbtxt import parse
from engines.errors import MissingBackendError, ModelLoadError
from engines.identity import IdentityEngine

CONFIG = """
backend: "%s" max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: [1] }
output { name: "y" data_type: TYPE_FP32 dims: [1] }
"""


def options(folder: Path, backend: str) -> EngineOptions:
    return EngineOptions(parse(CONFIG % backend, source="config.pbtxt", folder=folder), folder)


def test_opens_by_the_backend_of_the_configuration(tmp_path: Path) -> None:
    assert isinstance(open_engine(options(tmp_path, "identity")), IdentityEngine)


def test_unknown_backend_is_named_with_those_known(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"'tensorflow' is unknown; known are echo, identity, linear, onnxruntime"):
        open_engine(options(tmp_path, "tensorflow"))


def test_missing_sdk_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engine_without_sdk.py").write_text(
        "def open_engine(options):\n    import an_sdk_nobody_has\n    return an_sdk_nobody_has\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    backends = {"openvino": Backend("engine_without_sdk", "an_sdk_nobody_has", "openvino")}
    with pytest.raises(MissingBackendError) as refused:
        open_engine(options(tmp_path, "openvino"), backends)
    assert str(refused.value) == (
        "backend 'openvino' needs the an_sdk_nobody_has package: pip install 'batchyard[openvino]'"
    )


def test_broken_sdk_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engine_with_broken_sdk.py").write_text(
        "def open_engine(options):\n    raise ImportError('libcuda.so.1: cannot open shared object file')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    backends = {"openvino": Backend("engine_with_broken_sdk", "openvino", "openvino")}
    with pytest.raises(ModelLoadError, match=r"cannot be imported: libcuda") as refused:
        open_engine(options(tmp_path, "openvino"), backends)
    assert not isinstance(refused.value, MissingBackendError)


def test_registry_imports_no_sdk() -> None:
    import subprocess

    code = "import sys, engines; print([m for m in ('torch', 'onnxruntime', 'openvino') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert {"onnxruntime", "openvino", "pytorch", "identity", "linear"} <= BACKENDS.keys()
