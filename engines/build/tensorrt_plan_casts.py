"""Casts an ONNX graph to fp16 or bf16 where that is safe, for engines that keep to the types in the graph.

TensorRT 11 and TensorRT for RTX take every type from the graph ("strongly typed"); TensorRT 10 does where it is told.
Sums that fit in few bits are narrowed: products, additions, activations. Normalisation, pooling and all else stay fp32.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.build.errors import BuildError
from engines.tensor import Array

Narrow = Literal["fp16", "bf16"]

_PRODUCTS = frozenset({"MatMul", "Gemm", "Conv", "Add", "Gelu", "Relu", "Erf", "Tanh", "Softmax", "Where", "Gather"})
_SCALED = frozenset({"QuantizeLinear", "DequantizeLinear"})
_SHAPING = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Slice", "Split", "Flatten"})
"""Operations that only move values: they take whatever type their data has."""
_CASTS: Mapping[Narrow, int] = MappingProxyType({"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16})
_LARGEST_FP16, _SMALLEST_FP16 = 65504.0, 2.0**-14
_TYPED_SCALES = 19
"""The opset from which a scale may be narrow."""
_PROTOBUF_LIMIT = 2**31 - 2**20


def cast_file(source: Path, target: Path, narrow: Narrow) -> None:
    """Writes `source` to `target` with its arithmetic in `narrow`; inputs and outputs keep their types.

    Raises `BuildError` for a graph with control flow.
    """
    kinds = _kinds(onnx.load(source, load_external_data=False))
    model = onnx.load(source)
    graph = model.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        raise BuildError(f"{source.name}: has If, Loop or Scan, which cannot be cast to {narrow}; build it as fp32")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    _Caster(graph, kinds, narrow, opset).run()
    large = sum(len(weight.raw_data) for weight in graph.initializer) > _PROTOBUF_LIMIT
    onnx.save_model(model, target, save_as_external_data=large, location=f"{target.name}.data")


def count_quantized(source: Path) -> int:
    """The QuantizeLinear operations of a graph."""
    return sum(node.op_type == "QuantizeLinear" for node in onnx.load(source, load_external_data=False).graph.node)


def _kinds(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor name -> its ONNX element type."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    kinds = {weight.name: weight.data_type for weight in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        kinds[value.name] = value.type.tensor_type.elem_type
    return kinds


class _Caster:
    """Walks the nodes in order; `_wide` and `_narrow` say under which name a value is there in which type."""

    def __init__(self, graph: onnx.GraphProto, kinds: Mapping[str, int], narrow: Narrow, opset: int) -> None:
        self._graph = graph
        self._kinds = kinds
        self._type = narrow
        self._opset = opset
        self._weights = {weight.name: weight for weight in graph.initializer}
        self._outputs = {value.name for value in graph.output}
        self._wide: dict[str, str] = {}
        self._narrow: dict[str, str] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._cast_weights: list[onnx.TensorProto] = []

    def run(self) -> None:
        """Replaces the nodes and weights of the graph."""
        for node in self._graph.node:
            self._visit(node)
        used = {name for node in self._nodes for name in node.input} | self._outputs
        weights = [weight for weight in (*self._weights.values(), *self._cast_weights) if weight.name in used]
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(weights)

    def _visit(self, node: onnx.NodeProto) -> None:
        narrow = self._is_narrow(node)
        for index, name in enumerate(node.input):
            if self._is_float(name):
                node.input[index] = self._as_narrow(name) if narrow else self._as_wide(name)
        self._nodes.append(node)
        for name in node.output:
            if narrow and self._is_float(name):
                self._narrow[name] = name

    def _is_narrow(self, node: onnx.NodeProto) -> bool:
        if self._outputs.intersection(node.output):
            return False
        if node.op_type in _SHAPING:
            return node.input[0] in self._narrow
        if node.op_type in _SCALED:
            return self._opset >= _TYPED_SCALES and self._scale_fits(node)
        return node.op_type in _PRODUCTS

    def _scale_fits(self, node: onnx.NodeProto) -> bool:
        """Whether the scale keeps its precision: those of INT32 biases are too small for fp16."""
        scale = self._weights.get(node.input[1])
        if scale is None or self._type == "bf16":
            return self._type == "bf16" and self._kinds.get(node.input[0]) != TensorProto.INT32
        values: Array = np.abs(numpy_helper.to_array(scale))
        return bool(values.min() >= _SMALLEST_FP16 and values.max() <= _LARGEST_FP16)

    def _is_float(self, name: str) -> bool:
        return self._kinds.get(name) == TensorProto.FLOAT

    def _as_narrow(self, name: str) -> str:
        if name not in self._narrow:
            cast = f"{name}_{self._type}"
            weight = self._weights.get(name)
            if weight is None:
                self._nodes.append(helper.make_node("Cast", [name], [cast], name=cast, to=_CASTS[self._type]))
            else:
                self._cast_weights.append(numpy_helper.from_array(_narrowed(weight, self._type), cast))
            self._narrow[name] = cast
        return self._narrow[name]

    def _as_wide(self, name: str) -> str:
        if self._narrow.get(name) != name:
            return name
        if name not in self._wide:
            cast = f"{name}_fp32"
            self._nodes.append(helper.make_node("Cast", [name], [cast], name=cast, to=TensorProto.FLOAT))
            self._wide[name] = cast
        return self._wide[name]


def _narrowed(weight: onnx.TensorProto, narrow: Narrow) -> Array:
    """The weight in the narrow type; a mask such as -3e38 becomes the largest number that fp16 has."""
    values: Array = numpy_helper.to_array(weight)
    if narrow == "bf16":
        return values.astype(ml_dtypes.bfloat16)
    return np.clip(values, -_LARGEST_FP16, _LARGEST_FP16).astype(np.float16)
