"""Graphs in fp16 and bf16: right answers, inputs and outputs as they were, and what stays fp32."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engines.batch import Batch, Packed, Placement
from engines.build.errors import BuildError
from engines.build.packed_encoder import write_packed_encoder
from engines.build.tensorrt_plan_casts import Narrow, cast_file, count_quantized
from tests.engines.tiny_encoder import VOCABULARY, write_encoder

PLACES = ((0, 0, 0), (0, 5, 1), (0, 12, 2), (1, 0, 0), (2, 0, 0), (2, 3, 1))
LENGTHS = (5, 7, 4, 16, 3, 9)


def packed() -> Batch:
    draw = np.random.default_rng(0)
    texts = [{"input_ids": draw.integers(0, len(VOCABULARY), length)} for length in LENGTHS]
    return Packed(3, 16, tuple(Placement(*place) for place in PLACES)).collate(texts)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    write_packed_encoder(write_encoder(folder / "tiny"), folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize(("narrow", "least"), [("fp16", 0.99999), ("bf16", 0.9999)])
def test_an_encoder_answers_as_before(narrow: Narrow, least: float, encoder: Path, tmp_path: Path) -> None:
    cast_file(encoder, tmp_path / "cast.onnx", narrow)
    onnx.checker.check_model(str(tmp_path / "cast.onnx"), full_check=True)
    wanted, found = (
        ReferenceEvaluator(str(path)).run(None, packed().inputs)[0] for path in (encoder, tmp_path / "cast.onnx")
    )
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    cosines = [(wanted[row, segment] * found[row, segment]).sum() for row, _, segment in PLACES]
    assert min(cosines) > least
    assert not np.array_equal(wanted, found)


def test_weights_are_halved_and_norms_stay_fp32(encoder: Path, tmp_path: Path) -> None:
    cast_file(encoder, tmp_path / "cast.onnx", "fp16")
    graph = onnx.load(tmp_path / "cast.onnx").graph
    kinds = {weight.name: weight.data_type for weight in graph.initializer}
    by_kind = {node.op_type: [kinds.get(name) for name in node.input] for node in graph.node}
    assert by_kind["LayerNormalization"][1:] == [TensorProto.FLOAT, TensorProto.FLOAT]
    assert by_kind["Gather"][0] == TensorProto.FLOAT16
    assert {value.type.tensor_type.elem_type for value in graph.output} == {TensorProto.FLOAT}
    words = next(weight for weight in graph.initializer if weight.name.startswith("words"))
    assert words.data_type == TensorProto.FLOAT16


def small(path: Path, nodes: list[onnx.NodeProto], *weights: onnx.TensorProto, opset: int = 20) -> Path:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], list(weights))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return path


def weight(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def test_a_mask_beyond_fp16_becomes_its_largest_number(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "mask"], ["sum"]), helper.make_node("Identity", ["sum"], ["y"])]
    source = small(tmp_path / "a.onnx", nodes, weight("mask", [0, -3e38, 1]))
    cast_file(source, tmp_path / "b.onnx", "fp16")
    found = ReferenceEvaluator(str(tmp_path / "b.onnx")).run(None, {"x": np.zeros((1, 3), np.float32)})[0]
    assert found.tolist() == [[0, -65504, 1]]


def quantized(path: Path, opset: int, scale: float, zero: type = np.int8) -> Path:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("Add", ["d", "one"], ["b"]),
        helper.make_node("Identity", ["b"], ["y"]),
    ]
    weights = (weight("scale", scale), weight("zero", 0, zero), weight("one", 1))
    return small(path, nodes, *weights, opset=opset)


@pytest.mark.parametrize(
    ("opset", "scale", "narrow", "kind"),
    [
        (20, 0.5, "fp16", TensorProto.FLOAT16),
        (20, 0.5, "bf16", TensorProto.BFLOAT16),
        (18, 0.5, "fp16", TensorProto.FLOAT),  # its scales are fp32 by definition
        (20, 1e-6, "fp16", TensorProto.FLOAT),  # fp16 would round it
    ],
)
def test_scales(opset: int, scale: float, narrow: Narrow, kind: int, tmp_path: Path) -> None:
    source = quantized(tmp_path / "a.onnx", opset, scale)
    cast_file(source, tmp_path / "b.onnx", narrow)
    graph = onnx.load(tmp_path / "b.onnx").graph
    kinds = {one.name: one.data_type for one in graph.initializer}
    found = [kinds[node.input[1]] for node in graph.node if node.op_type.endswith("quantizeLinear")]
    found += [kinds[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert set(found) == {kind}
    assert count_quantized(source) == 1


def test_control_flow_is_refused(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3])],
    )
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)]
    source = small(tmp_path / "a.onnx", nodes, weight("yes", True, np.bool_))
    with pytest.raises(BuildError, match=r"a.onnx: has If, Loop or Scan, which cannot be cast to fp16"):
        cast_file(source, tmp_path / "b.onnx", "fp16")
