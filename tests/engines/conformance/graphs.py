"""Small ONNX models, one for each way of laying a batch out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.tensor import Array

HIDDEN = 8
VOCABULARY = 50

Value = onnx.ValueInfoProto


def embedding_table() -> Array:
    """FP32 [VOCABULARY, HIDDEN]."""
    return np.random.default_rng(3).normal(0, 1, (VOCABULARY, HIDDEN)).astype(np.float32)


def add_sub(path: Path) -> None:
    """INT32 a, b [n, 4] -> total, difference."""
    nodes = [helper.make_node("Add", ["a", "b"], ["total"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    inputs = [_value(name, TensorProto.INT32, "n", 4) for name in ("a", "b")]
    _save(path, nodes, inputs, [_value(name, TensorProto.INT32, "n", 4) for name in ("total", "difference")])


def same_text(path: Path) -> None:
    """BYTES words [n, 2] -> same, by a Reshape: OpenVINO frees strings twice that go straight from in to out."""
    node = helper.make_node("Reshape", ["words", "shape"], ["same"])
    inputs, outputs = ([_value(name, TensorProto.STRING, "n", 2)] for name in ("words", "same"))
    _save(path, [node], inputs, outputs, [_constant("shape", [-1, 2])])


def masked_mean(path: Path) -> None:
    """INT64 input_ids, attention_mask [n, length] -> mean FP32 [n, HIDDEN] of the table's rows that the mask keeps."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["column", "one"], ["count"], keepdims=0),
        helper.make_node("Div", ["total", "count"], ["mean"]),
    ]
    constants = [_constant("table", embedding_table()), _constant("last", [-1]), _constant("one", [1])]
    inputs = [_value(name, TensorProto.INT64, "n", "length") for name in ("input_ids", "attention_mask")]
    _save(path, nodes, inputs, [_value("mean", TensorProto.FLOAT, "n", HIDDEN)], constants)


def ragged_sum(path: Path) -> None:
    """FP32 values [all], INT32 ends [n + 1] from 0 -> total FP32 [n, 1]: the sum of each stretch between two ends."""
    nodes = [
        helper.make_node("CumSum", ["values", "axis"], ["running"]),
        helper.make_node("Concat", ["none", "running"], ["sums"], axis=0),
        helper.make_node("Gather", ["sums", "ends"], ["at_ends"]),
        helper.make_node("Slice", ["at_ends", "one", "far"], ["upper"]),
        helper.make_node("Slice", ["at_ends", "zero", "minus_one"], ["lower"]),
        helper.make_node("Sub", ["upper", "lower"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "one"], ["total"]),
    ]
    constants = [
        _constant("axis", np.array(0)),
        _constant("none", np.zeros(1, np.float32)),
        _constant("zero", [0]),
        _constant("one", [1]),
        _constant("far", [2**31 - 1]),
        _constant("minus_one", [-1]),
    ]
    inputs = [_value("values", TensorProto.FLOAT, "all"), _value("ends", TensorProto.INT32, "ends")]
    _save(path, nodes, inputs, [_value("total", TensorProto.FLOAT, "n", 1)], constants)


def _value(name: str, kind: int, *shape: str | int) -> Value:
    return helper.make_tensor_value_info(name, kind, shape)


def _constant(name: str, values: Array | Sequence[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values), name)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[Value],
    outputs: list[Value],
    constants: Sequence[onnx.TensorProto] = (),
) -> None:
    graph = helper.make_graph(nodes, "small", inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
