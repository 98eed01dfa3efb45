"""The conformance repository: what is written of each kind, and that ONNX files compute what the Python models do."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from tests.conformance.catalog import MODELS
from tests.conformance.pairs import LEFT, MINUS_ONES, numbers, strings
from tests.conformance.repository import Kind, write


@pytest.mark.parametrize("kind", ["onnx", "python"])
def test_every_version_has_the_file_that_its_configuration_asks_for(tmp_path: Path, kind: Kind) -> None:
    write(tmp_path, kind)
    files = {"onnxruntime": "model.onnx", "python": "model.py"}
    for model in MODELS:
        text = (tmp_path / model.name / "config.pbtxt").read_text()
        named = [file for backend, file in files.items() if f'backend: "{backend}"' in text]
        found = {
            version.name: [file.name for file in version.iterdir()]
            for version in (tmp_path / model.name).glob("[0-9]*")
        }
        assert found == dict.fromkeys(model.versions, named)
        assert named != ["model.onnx"] or kind == "onnx"


def test_only_what_is_named_is_written(tmp_path: Path) -> None:
    write(tmp_path, "python", ["simple", "bls_simple"])
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["bls_simple", "simple"]


def run(model: str, **inputs: npt.NDArray[np.generic]) -> list[npt.NDArray[np.generic]]:
    """The outputs of its ONNX file."""
    graph = next(each.graph for each in MODELS if each.name == model)
    assert graph is not None
    session = onnxruntime.InferenceSession(graph(), providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def test_sums_and_differences() -> None:
    total, difference = run("simple", INPUT0=LEFT, INPUT1=MINUS_ONES)
    np.testing.assert_array_equal(total, LEFT - 1)
    np.testing.assert_array_equal(difference, LEFT + 1)


def test_int8_wraps() -> None:
    left, right = np.full((1, 16), 127, np.int8), np.full((1, 16), 2, np.int8)
    total, difference = run("simple_int8", INPUT0=left, INPUT1=right)
    np.testing.assert_array_equal(total, np.full((1, 16), -127, np.int8), strict=True)
    np.testing.assert_array_equal(difference, np.full((1, 16), 125, np.int8), strict=True)


def test_strings_are_numbers() -> None:
    total, difference = run("simple_string", INPUT0=strings(LEFT).astype(str), INPUT1=strings(MINUS_ONES).astype(str))
    np.testing.assert_array_equal(numbers(total), LEFT - 1)
    np.testing.assert_array_equal(numbers(difference), LEFT + 1)


@pytest.mark.parametrize(
    ("model", "value"),
    [
        ("simple_identity", strings(LEFT).astype(str).astype(object)),
        ("identity_fp32", np.zeros((2, 0), np.float32)),
        ("identity_uint8_nobatch", np.arange(256, dtype=np.uint8)),
        ("identity_reshape", np.arange(4, dtype=np.int32)),
    ],
)
def test_identities(model: str, value: npt.NDArray[np.generic]) -> None:
    (found,) = run(model, INPUT0=value)
    np.testing.assert_array_equal(found, value, strict=True)
