from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engines import open_engine
from engines.base import Engine, EngineOptions
from engines.batch import Batch
from engines.config.pbtxt import parse
from engines.errors import InvalidInputError, ModelLoadError
from engines.tensor import Array

INPUT = 'backend: "linear" max_batch_size: 8\ninput { name: "embedding" data_type: TYPE_FP32 dims: [2] }\n'
LABEL = 'output { name: "label" data_type: TYPE_STRING dims: [1] }\n'
CONFIDENCE = 'output { name: "confidence" data_type: TYPE_FP32 dims: [1] }\n'
LOGITS = 'output { name: "logits" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" }\n'
ALL = INPUT + LABEL + CONFIDENCE + LOGITS
HEAD = {"weight": np.array([[1, 0], [0, 1], [-1, -1]], np.float32), "bias": np.array([0, 0, 0.5], np.float32)}


def floats(*shape: int) -> Array:
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


def head(folder: Path, text: str = ALL, tensors: dict[str, Array] = HEAD) -> Engine:
    (folder / "labels.txt").write_text("top_up\ncard_arrival\nother\n")
    (folder / "1").mkdir()
    save_file(tensors, folder / "1" / "head.safetensors")
    return open_engine(EngineOptions(parse(text, source="config.pbtxt", folder=folder), folder / "1"))


def batch(*values: list[float]) -> Batch:
    return Batch({"embedding": np.array(values, np.float32)}, len(values))


def test_labels_and_confidence(tmp_path: Path) -> None:
    answer = head(tmp_path).run(batch([3, 0], [0, 2], [-1, -1]))
    assert answer["label"].tolist() == [[b"top_up"], [b"card_arrival"], [b"other"]]
    assert answer["confidence"][0, 0] == pytest.approx(np.exp(3) / (np.exp(3) + 1 + np.exp(-2.5)), rel=1e-5)
    assert answer["logits"][1].tolist() == [0, 2, -1.5]


def test_confidence_of_huge_logits_does_not_overflow(tmp_path: Path) -> None:
    assert head(tmp_path).run(batch([1e4, 0]))["confidence"].tolist() == [[1.0]]


def test_gives_only_the_declared_outputs(tmp_path: Path) -> None:
    assert head(tmp_path, INPUT + CONFIDENCE).run(batch([1, 0])).keys() == {"confidence"}


@pytest.mark.parametrize(("setting", "bend"), [("", lambda x: np.maximum(x, 0)), ("tanh", np.tanh)])
def test_hidden_layers(tmp_path: Path, setting: str, bend: np.ufunc) -> None:
    tensors = {"weight0": floats(4, 2), "bias0": floats(4), "weight1": floats(3, 4), "bias1": floats(3)}
    parameter = f'parameters {{ key: "batchyard.linear.activation" value {{ string_value: "{setting}" }} }}'
    answer = head(tmp_path, ALL + (parameter if setting else ""), tensors).run(batch([1, -2]))
    hidden = bend(tensors["weight0"] @ np.array([1, -2], np.float32) + tensors["bias0"])
    np.testing.assert_allclose(answer["logits"][0], tensors["weight1"] @ hidden + tensors["bias1"], rtol=1e-5)


def test_row_with_nan_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="row 1 is too large, or holds NaN"):
        head(tmp_path).run(batch([1, 1], [np.nan, 1]))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": floats(3, 2)}, "holds weight; wanted weight and bias"),
        ({"weight": floats(3, 2), "bias": floats(4)}, r"weight float32 \[3, 2\] and bias float32 \[4\]"),
        ({"weight": floats(3, 2).astype(np.float64), "bias": floats(3)}, "weight float64"),
        ({"weight0": floats(4, 2), "bias0": floats(4), "weight1": floats(3, 5), "bias1": floats(3)}, "weight1 float32"),
        ({"weight": floats(3), "bias": floats(3)}, r"weight float32 \[3\]"),
        ({"weight": floats(3, 5), "bias": floats(3)}, r"takes one input TYPE_FP32 with dims \[5\]"),
        ({"weight": floats(4, 2), "bias": floats(4)}, "output 'logits' is not one"),
    ],
)
def test_heads_that_do_not_fit_are_refused(tmp_path: Path, tensors: dict[str, Array], message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        head(tmp_path, tensors=tensors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INPUT + LABEL, "3 classes but 0 labels are named; set label_filename"),
        (ALL.replace("max_batch_size: 8", "max_batch_size: 0"), "set max_batch_size"),
        (ALL + 'output { name: "score" data_type: TYPE_FP32 dims: [1] }', "output 'score' is not one that"),
        (
            ALL + 'parameters { key: "batchyard.linear.activation" value { string_value: "selu" } }',
            "is 'selu'; known are relu, tanh",
        ),
    ],
)
def test_configurations_that_do_not_fit_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        head(tmp_path, text)


def test_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    head(tmp_path)
    (tmp_path / "1" / "head.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ModelLoadError, match="cannot be read as safetensors"):
        open_engine(EngineOptions(parse(ALL, source="config.pbtxt", folder=tmp_path), tmp_path / "1"))


def test_missing_file_is_named(tmp_path: Path) -> None:
    head(tmp_path)
    (tmp_path / "1" / "head.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"head\.safetensors"):
        open_engine(EngineOptions(parse(ALL, source="config.pbtxt", folder=tmp_path), tmp_path / "1"))
