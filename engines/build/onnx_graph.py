"""An ONNX graph to read and change: who makes a value, who uses it, which values are constant."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import NodeProto, TensorProto, helper, numpy_helper

from engines.build.errors import BuildError
from engines.build.graph import write_model
from engines.onnx_file import check_external_data
from engines.tensor import Array

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operations."""


class OnnxGraph:
    """The graph of the ONNX file `path`; raises `EngineError` where it cannot be read."""

    def __init__(self, path: Path) -> None:
        check_external_data(path)
        try:
            self._model = onnx.load(path)
        except (DecodeError, OSError, ValueError) as error:
            raise BuildError(f"{path.name}: cannot be read as ONNX: {' '.join(str(error).split())}") from None
        graph = self._model.graph
        self.nodes = list(graph.node)
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._makers = {value: node for node in self.nodes for value in node.output}
        self._users: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for value in set(node.input):
                self._users.setdefault(value, []).append(node)
        self._answers = {output.name for output in graph.output}
        self._instead: dict[str, list[NodeProto]] = {}

    def constant(self, value: str) -> Array | None:
        return self._constants.get(value)

    def maker(self, value: str, kind: str) -> NodeProto | None:
        """The node that makes `value`, where it is a `kind`."""
        node = self._makers.get(value)
        return node if node is not None and node.op_type == kind else None

    def users(self, value: str) -> Sequence[NodeProto]:
        return self._users.get(value, ())

    def only_user(self, value: str, kind: str) -> NodeProto | None:
        """The node that alone uses `value`, where it is a `kind` and the model does not answer with `value`."""
        users = self.users(value)
        if len(users) != 1 or users[0].op_type != kind or value in self._answers:
            return None
        return users[0]

    def weight(self, name: str, value: Array) -> str:
        """Adds a constant, or sets it anew."""
        self._constants[name] = value
        return name

    def replace(self, node: NodeProto, *others: NodeProto) -> None:
        """Puts `others` where `node` was; none takes it out. What was put there before gives way."""
        self._instead[node.output[0]] = list(others)

    def save(self, target: Path, answers: Sequence[str] = ()) -> None:
        """Writes the graph as it now is, constants that nothing uses left out. `answers`: FP32 values of three axes to
        answer too."""
        old = self._model.graph
        nodes = [other for node in self.nodes for other in self._instead.get(node.output[0], [node])]
        used = {value for node in nodes for value in node.input}
        weights = [numpy_helper.from_array(value, name) for name, value in self._constants.items() if name in used]
        extra = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 3) for name in answers]
        graph = helper.make_graph(nodes, old.name, old.input, [*old.output, *extra], weights)
        opsets = {opset.domain: opset.version for opset in self._model.opset_import} | {MICROSOFT: 1}
        write_model(graph, target, opsets)


def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    """A node of ONNX's own, named by its output."""
    return helper.make_node(kind, list(inputs), [output], name=output, **attributes)


def microsoft_node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    """A node of ONNX Runtime's own."""
    return node(kind, inputs, output, domain=MICROSOFT, **attributes)


def permutation(transpose: NodeProto) -> Sequence[int]:
    """The `perm` of a Transpose; empty for the default."""
    return next((list(attribute.ints) for attribute in transpose.attribute if attribute.name == "perm"), [])


def floats(value: Array | float) -> Array:
    return np.asarray(value, np.float32)
