"""Our configuration of another server's model, completed and checked by what that server says."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.config.shown import to_json
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig
from engines.remote_config import check_same, complete
from tests.engines.config_text import model_folder, read

REMOTE = """
name: "there" backend: "onnxruntime" max_batch_size: 8 dynamic_batching { }
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 2, 2 ] } }
input { name: "mask" data_type: TYPE_BOOL dims: [ 1 ] optional: true }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] label_filename: "labels.txt" }
"""
X = 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }\n'
BAD = (
    ('max_batch_size: 16 input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }', "max_batch_size is 16.*at most 8"),
    ('max_batch_size: 8 input { name: "z" data_type: TYPE_FP32 dims: [ 4 ] }', "no input 'z', but 'x', 'mask'"),
    ('max_batch_size: 8 input { name: "x" data_type: TYPE_INT8 dims: [ 4 ] }', "is TYPE_INT8.*server's is TYPE_FP32"),
    ('max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: [ 5 ] }', r"\[-1, 5\].*server's is TYPE_FP32"),
    (
        'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }',
        r"\[4\], its server's is TYPE_FP32 \[-1, 4\]",
    ),
    ('max_batch_size: 8 input { name: "mask" data_type: TYPE_BOOL dims: [ 1 ] }', "also takes input 'x'"),
    ('max_batch_size: 8 output { name: "q" data_type: TYPE_FP32 dims: [ 1 ] }', "no output 'q', but 'y'"),
)


def config(tmp_path: Path, text: str) -> ModelConfig:
    return read(text, model_folder(tmp_path))


def remote(text: str = REMOTE) -> ModelConfigProto:
    found: ModelConfigProto = text_format.Parse(text, ModelConfigProto())
    return found


def test_all_of_it_comes_from_the_server_where_nothing_is_said(tmp_path: Path) -> None:
    found = complete(config(tmp_path, 'backend: "triton"\n'), remote(), tmp_path / "m")
    assert [(spec.name, str(spec.datatype), spec.shape, spec.optional) for spec in found.inputs] == [
        ("x", "FP32", (4,), False),
        ("mask", "BOOL", (1,), True),
    ]
    assert (found.max_batch_size, found.backend, found.name) == (8, "triton", "m")
    assert found.dynamic_batching is None
    shown = to_json(found)
    assert shown["input"][0]["dims"] == [4]
    assert shown["backend"] == "triton"


def test_what_is_said_here_may_ask_for_less(tmp_path: Path) -> None:
    text = f'backend: "triton" max_batch_size: 4 dynamic_batching {{ }}\n{X}'
    found = complete(config(tmp_path, text), remote(), tmp_path / "m")
    assert ([spec.name for spec in found.inputs], found.max_batch_size) == (["x"], 4)
    assert found.dynamic_batching is not None
    assert [spec.name for spec in found.outputs] == ["y"]


@pytest.mark.parametrize(("said", "why"), BAD)
def test_what_contradicts_the_server_is_refused(tmp_path: Path, said: str, why: str) -> None:
    with pytest.raises(ModelLoadError, match=why):
        complete(config(tmp_path, f'backend: "triton"\n{said}'), remote(), tmp_path / "m")


def test_a_server_with_metadata_only_has_no_batches_of_its_own(tmp_path: Path) -> None:
    metadata = remote(
        'name: "m" input { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] }' + Y.replace("[ -1 ]", "[ -1, 3 ]")
    )
    found = complete(config(tmp_path, 'backend: "triton"\n'), metadata, tmp_path / "m")
    assert (found.max_batch_size, found.inputs[0].shape) == (0, (-1, 4))
    declared = complete(read(f'backend: "triton" max_batch_size: 4\n{X}', tmp_path / "m"), metadata, tmp_path / "m")
    assert (declared.max_batch_size, declared.inputs[0].shape, declared.outputs[0].shape) == (4, (4,), (3,))


def test_decoupled_models_stay_decoupled(tmp_path: Path) -> None:
    there = remote(REMOTE + "model_transaction_policy { decoupled: true }")
    assert complete(config(tmp_path, 'backend: "triton"\n'), there, tmp_path / "m").decoupled


def test_decoupled_here_and_not_there_is_refused(tmp_path: Path) -> None:
    said = 'backend: "triton" model_transaction_policy { decoupled: true }\n'
    with pytest.raises(ModelLoadError, match="decoupled is True, its server's is False"):
        complete(config(tmp_path, said), remote(), tmp_path / "m")


def test_a_server_that_comes_back_with_another_model_is_told_apart(tmp_path: Path) -> None:
    found = complete(config(tmp_path, 'backend: "triton"\n'), remote(), tmp_path / "m")
    check_same(found, remote())
    with pytest.raises(ModelLoadError, match="output 'y'"):
        check_same(found, remote(REMOTE.replace('name: "y"', 'name: "other"')))
