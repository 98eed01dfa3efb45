"""Small models and their configuration, for the tests of the engines that open ONNX files."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.base import EngineOptions
from engines.config.pbtxt import parse

ROWS = 'max_batch_size: 4\ninput { name: "x" data_type: TYPE_FP32 dims: [ 3 ] }\n'
DOUBLED = 'output { name: "y" data_type: TYPE_FP32 dims: [ 3 ] }\n'


def double(path: Path, *shape: int | str) -> None:
    """FP32 x [shape] -> y = x + x."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", value[:1], value[1:])
    save(path, graph)


def same(path: Path, kind: int) -> None:
    """x [n, 3] of `kind` -> y, the same."""
    values = [helper.make_tensor_value_info(name, kind, ["n", 3]) for name in ("x", "y")]
    save(path, helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", values[:1], values[1:]))


def look_up(path: Path, axis: int) -> None:
    """INT64 x [n, 3] -> y FP32: entries of a table of 5 by 7 along `axis`."""
    table = numpy_helper.from_array(np.arange(35, dtype=np.float32).reshape(5, 7), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "x"], ["y"], axis=axis)],
        "look_up",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 7] if axis == 0 else [5, "n", 3])],
        [table],
    )
    save(path, graph)


def save(path: Path, graph: onnx.GraphProto) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def options(folder: Path, backend: str, text: str = ROWS + DOUBLED, device: str = "") -> EngineOptions:
    (folder / "1").mkdir(exist_ok=True)
    config = parse(f'backend: "{backend}"\n{text}', source="config.pbtxt", folder=folder)
    return EngineOptions(config, folder / "1", device=device, threads=1)
