"""A thin writer of ONNX graphs: every operation returns the name of its result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.tensor import Array

OPSET = 20
IR_VERSION = 10
PRODUCER = "batchyard"
_PROTOBUF_LIMIT = 2**31 - 2**20


class GraphWriter:
    """Collects nodes and weights; `save` checks and writes them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: tuple[int | str, ...]) -> str:
        """An INT64 input; a string in `shape` names a dimension of any size."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, list(shape)))
        return name

    def output(self, value: str, name: str, shape: tuple[int | str, ...]) -> None:
        """Makes `value` the FP32 output `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def weight(self, name: str, value: Array) -> str:
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def scalar(self, name: str, value: float) -> str:
        """An FP32 scalar."""
        return self.weight(name, np.array(value, np.float32))

    def integers(self, name: str, *values: int) -> str:
        """A vector of INT64, for shapes and axes."""
        return self.weight(name, np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        (result,) = self.ops(kind, *inputs, results=1, **attributes)
        return result

    def ops(self, kind: str, *inputs: str, results: int, **attributes: Any) -> list[str]:
        """An operation with several results."""
        number = len(self._nodes)
        names = [f"{kind}_{number}_{index}" for index in range(results)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{number}", **attributes))
        return names

    def save(self, target: Path) -> None:
        """Writes the model; weights beyond protobuf's 2 GB go to a file `<target>.data` beside it."""
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, self._weights)
        write_model(graph, target, {"": OPSET})


def write_model(graph: onnx.GraphProto, target: Path, opsets: Mapping[str, int]) -> None:
    """Writes and checks a model of `graph`; weights beyond protobuf's 2 GB go to a file `<target>.data` beside it."""
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name=PRODUCER)
    large = sum(len(weight.raw_data) for weight in graph.initializer) > _PROTOBUF_LIMIT
    onnx.save_model(model, target, save_as_external_data=large, location=f"{target.name}.data")
    onnx.checker.check_model(str(target), full_check=True)
