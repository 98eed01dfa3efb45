"""Callers see a tensor's `dims`, the model its own shape; and outputs that a batch gives in one piece."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines import open_engine
from engines.base import Engine, EngineOptions
from engines.batch import Batch, Ragged, Stacked
from engines.calls import Call, Response
from engines.config.pbtxt import parse
from engines.errors import InvalidOutputError, ModelLoadError
from engines.model_config import ModelConfig
from engines.reshape import ReshapingCallEngine, inner_config, reshape_of
from engines.tensor import FP32, Array, Signature, TensorSpec
from engines.warmup import warmup_batches


def tensor(kind: str, name: str, dims: str, extra: str = "") -> str:
    return f'{kind} {{ name: "{name}" data_type: TYPE_FP32 dims: [ {dims} ] {extra} }}\n'


def config_of(text: str, folder: Path, backend: str = "onnxruntime", batch: int = 8) -> ModelConfig:
    head = f'backend: "{backend}" max_batch_size: {batch}\n'
    return parse(head + text, source="config.pbtxt", folder=folder)


def graph(
    folder: Path, nodes: Sequence[onnx.NodeProto], source: Sequence[int | str], target: Sequence[int | str]
) -> None:
    """An ONNX model `x` -> `y` in version 1 of `folder`."""
    x, y = (
        helper.make_tensor_value_info(*pair)
        for pair in (("x", TensorProto.FLOAT, source), ("y", TensorProto.FLOAT, target))
    )
    made = helper.make_graph(nodes, "g", [x], [y])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / "1").mkdir(parents=True)
    onnx.save(model, str(folder / "1" / "model.onnx"))


def opened(config: ModelConfig, folder: Path) -> Engine:
    engine = open_engine(EngineOptions(config, folder / "1"))
    engine.warm_up()
    return engine


def one_to_six(array: Array) -> Batch:
    return Batch({"x": array}, len(array))


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_the_model_gets_its_own_shape(tmp_path: Path, isolation: str) -> None:
    """The model turns [n, 2, 3] around; callers send [n, 6] and get [n, 3, 2, 1]."""
    folder = tmp_path / "m"
    graph(folder, [helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1])], ["n", 2, 3], ["n", 3, 2])
    text = tensor("input", "x", "6", "reshape { shape: [ 2, 3 ] }")
    text += tensor("output", "y", "3, 2, 1", "reshape { shape: [ 3, 2 ] }")
    text += f'parameters {{ key: "batchyard.isolation" value {{ string_value: "{isolation}" }} }}'
    text += (
        'model_warmup { name: "s" inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 6 ] random_data: true } } }'
    )
    engine = opened(config_of(text, folder), folder)
    given = np.arange(12, dtype=np.float32).reshape(2, 6)
    found = engine.run(one_to_six(given))["y"]
    assert found.tolist() == given.reshape(2, 2, 3).transpose(0, 2, 1)[..., np.newaxis].tolist()
    assert [spec.shape for spec in (*engine.signature.inputs, *engine.signature.outputs)] == [(6,), (3, 2, 1)]
    engine.close()


def test_a_batch_of_scalars(tmp_path: Path) -> None:
    """Dims [1] with an empty reshape: the model takes [n]."""
    folder = tmp_path / "m"
    graph(folder, [helper.make_node("Neg", ["x"], ["y"])], ["n"], ["n"])
    text = tensor("input", "x", "1", "reshape { }") + tensor("output", "y", "1", "reshape { shape: [ ] }")
    engine = opened(config_of(text, folder), folder)
    assert engine.run(one_to_six(np.array([[1], [2]], np.float32)))["y"].tolist() == [[-1], [-2]]


def test_open_sizes_keep_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    graph(folder, [helper.make_node("Neg", ["x"], ["y"])], ["n", "a", 1, "b", 2], ["n", "a", 1, "b", 2])
    text = tensor("input", "x", "-1, -1, 2", "reshape { shape: [ -1, 1, -1, 2 ] }")
    text += tensor("output", "y", "1, -1, -1, 2", "reshape { shape: [ -1, 1, -1, 2 ] }")
    engine = opened(config_of(text, folder), folder)
    assert engine.run(one_to_six(np.zeros((1, 3, 0, 2), np.float32)))["y"].shape == (1, 1, 3, 0, 2)


def test_the_file_is_held_against_the_models_own_shape(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    graph(folder, [helper.make_node("Neg", ["x"], ["y"])], ["n", 6], ["n", 6])
    text = tensor("input", "x", "6", "reshape { shape: [ 2, 3 ] }") + tensor("output", "y", "6")
    with pytest.raises(ModelLoadError, match=r"input 'x' is FP32 \[-1, 2, 3\].* but FP32 \[-1, 6\] in the file"):
        opened(config_of(text, folder), folder)


class Negating:
    """A `CallEngine` that sees only the model's own shapes, and answers twice: late and at once."""

    signature = Signature((TensorSpec("x", FP32, (2, 3)),), (TensorSpec("y", FP32, (2, 3)),), 8)

    def warm_up(self) -> None: ...

    def close(self) -> None: ...

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        assert [call.inputs["x"].shape for call in calls] == [(1, 2, 3)] * 2
        calls[0].respond(Response({"y": -calls[0].inputs["x"]}))
        return [None, Response({"y": -calls[1].inputs["x"]})]


def test_calls_and_their_answers_are_turned_too(tmp_path: Path) -> None:
    text = tensor("input", "x", "6", "reshape { shape: [ 2, 3 ] }")
    text += tensor("output", "y", "6", "reshape { shape: [ 2, 3 ] }")
    config = config_of(text, tmp_path, "python")
    reshape = reshape_of(config)
    assert reshape is not None
    assert inner_config(config).inputs[0].shape == (2, 3)
    said: list[Response] = []
    calls = [Call({"x": np.ones((1, 6), np.float32)}, said.append, lambda: False) for _ in range(2)]
    engine = ReshapingCallEngine(Negating(), reshape)
    late, once = engine.execute(calls)
    assert late is None
    assert once is not None
    assert [answer.outputs["y"].tolist() for answer in (*said, once)] == [[[-1.0] * 6]] * 2
    assert engine.signature.inputs[0].shape == (6,)


def ragged(*lengths: int) -> list[dict[str, Array]]:
    return [{"x": np.full((1, length), length, np.float32)} for length in lengths]


def scattering(tmp_path: Path) -> tuple[ModelConfig, Engine]:
    """A model that negates ragged values, all requests in one piece."""
    folder = tmp_path / "m"
    graph(folder, [helper.make_node("Neg", ["x"], ["y"])], ["all"], ["all"])
    text = tensor("input", "x", "-1", "allow_ragged_batch: true") + tensor("output", "y", "-1")
    text += 'batch_output { target_name: "y" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }'
    config = config_of(text, folder)
    return config, opened(config, folder)


def test_a_piece_is_cut_by_the_shapes_of_an_input(tmp_path: Path) -> None:
    config, engine = scattering(tmp_path)
    requests = ragged(2, 0, 3)
    shapes = [config.batch_outputs[0].part(request["x"].shape) for request in requests]
    layout = Ragged((1, 1, 1), frozenset({"x"}), (), {"y": shapes})
    found = layout.split(engine.run(layout.collate(requests)))
    assert [part["y"].tolist() for part in found] == [[[-2.0, -2.0]], [[]], [[-3.0] * 3]]


def test_a_piece_of_another_size_is_the_models_error() -> None:
    layout = Ragged((1, 1), frozenset({"x"}), (), {"y": [(1, 2), (1, 3)]})
    with pytest.raises(InvalidOutputError, match="output 'y' has 4 elements, wanted 5"):
        layout.split({"y": np.zeros(4, np.float32)})


@pytest.mark.parametrize(("dims", "part"), [((-1, 3), (1, 7, 3)), ((2,), (1, 2)), ((-1, -1), (1, 7, 9))])
def test_open_sizes_of_a_part_are_those_of_the_source(tmp_path: Path, dims: tuple[int, ...], part: object) -> None:
    text = tensor("input", "x", "-1, -1") + tensor("output", "y", ", ".join(map(str, dims)))
    config = config_of(text + 'batch_output { target_name: "y" source_input: "x" }', tmp_path)
    assert config.batch_outputs[0].part((1, 7, 9)) == part


def test_inputs_that_the_batcher_makes_are_there_when_a_model_is_warmed(tmp_path: Path) -> None:
    text = tensor("input", "x", "3") + tensor("output", "y", "1")
    text += 'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_INT32 source_input: "x" }'
    (batch,) = warmup_batches(config_of(text, tmp_path))
    assert {name: array.tolist() for name, array in batch.inputs.items()} == {"x": [[0.0] * 3], "n": [3]}


def test_no_rows_stack() -> None:
    """Zero-size tensors lie beside each other like any others."""
    layout = Stacked((1, 2))
    batch = layout.collate([{"x": np.zeros((1, 0), np.float32)}, {"x": np.zeros((2, 0), np.float32)}])
    assert batch.inputs["x"].shape == (3, 0)
    assert [part["x"].shape for part in layout.split(dict(batch.inputs))] == [(1, 0), (2, 0)]
