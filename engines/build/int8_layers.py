"""The linear layers of a graph and the activations that feed them, made INT8.

An activation is quantised with one fixed scale, so that an answer depends on its own text only. Channels differ much in
range, so each is first divided by a factor of its own and the weights are multiplied by it.
Source: G. Xiao et al., "SmoothQuant", arXiv:2211.10438.
"""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from engines.build.onnx_graph import OnnxGraph, floats, microsoft_node, node
from engines.tensor import Array

_SHARE = 0.75
"""How much of the difference between channels the weights take over."""
_LEAST = 1e-4
"""A channel counts as no narrower than this part of the widest: what was hardly seen may still come."""
_WEIGHT_MOST, _ACTIVATION_MOST = 127, 255


class Ranges:
    """Per channel what was seen of an activation: `low`, `high`, `mean`."""

    def __init__(self) -> None:
        self.low: Array = np.array(np.inf)
        self.high: Array = np.array(-np.inf)
        self.count = 0
        self._total: Array = np.array(0.0)

    def see(self, tokens: Array) -> None:
        """`tokens`: [tokens, channels], none too."""
        if not len(tokens):
            return
        self.low = np.minimum(self.low, tokens.min(0))
        self.high = np.maximum(self.high, tokens.max(0))
        self._total = self._total + tokens.sum(0, dtype=np.float64)
        self.count += len(tokens)

    @property
    def mean(self) -> Array:
        return self._total / self.count


@dataclass(slots=True)
class Linear:
    """`MatMul` by a constant `weight` [in, out], and the `Add` of a constant `bias` [out] where there is one."""

    product: NodeProto
    addition: NodeProto | None
    weight: Array
    bias: Array

    @property
    def answer(self) -> str:
        return str((self.addition or self.product).output[0])

    def take(self, shift: Array, scale: Array) -> None:
        """From now on its input x comes as (x - shift) / scale."""
        self.bias = self.bias + shift @ self.weight
        self.weight = self.weight * scale[:, None]

    def give(self, shift: Array, scale: Array) -> None:
        """From now on its answer y goes out as (y - shift) / scale."""
        self.bias = (self.bias - shift) / scale
        self.weight = self.weight / scale


class Activation:
    """What feeds `linears`: `value`, of which (x - shift) / scale is quantised to UINT8 steps of `step`."""

    def __init__(self, value: str, linears: list[Linear]) -> None:
        self.value = value
        self.linears = linears
        self.seen = Ranges()
        self._rounded = Ranges()
        self._shift, self._scale = np.zeros(1), np.ones(1)
        self._divisor: Array | None = None
        self._step, self._zero = 1.0, 0

    def comes_as(self, shift: Array, scale: Array) -> None:
        """What makes `value` gives (x - shift) / scale of what was seen."""
        self._shift, self._scale = shift, scale
        for linear in self.linears:
            linear.take(shift, scale)

    def balance(self) -> None:
        """Evens out the channels, by a division that the graph makes."""
        widths = np.maximum(np.abs(self.seen.low), np.abs(self.seen.high))
        weights = np.max([np.abs(linear.weight).max(1) for linear in self.linears], 0)
        scale = at_least(widths) ** _SHARE / at_least(weights) ** (1 - _SHARE)
        self._divisor = scale
        self.comes_as(np.zeros_like(scale), scale)

    def choose_step(self) -> None:
        """Fits UINT8 to what was seen; zero stays exact."""
        low = min(0.0, float(self._arriving(self.seen.low).min()))
        high = max(0.0, float(self._arriving(self.seen.high).max()))
        self._step = float(np.float32(max(high - low, 1e-12) / _ACTIVATION_MOST))
        self._zero = round(-low / self._step)

    def see_rounded(self, tokens: Array) -> None:
        """Notes what quantising makes of `tokens` [tokens, channels]."""
        steps = np.round(self._arriving(tokens) / self._step) + self._zero
        self._rounded.see((np.clip(steps, 0, _ACTIVATION_MOST) - self._zero) * self._step)

    def write(self, graph: OnnxGraph) -> None:
        """Puts the INT8 layers in place of the old ones."""
        name = self.value
        step = graph.weight(f"{name}.step", floats(self._step))
        zero = graph.weight(f"{name}.zero", np.array(self._zero, np.uint8))
        before, source = [], name
        if self._divisor is not None:
            factors = graph.weight(f"{name}.factors", floats(1 / self._divisor))
            source = f"{name}.balanced"
            before.append(node("Mul", [name, factors], source))
        before.append(node("QuantizeLinear", [source, step, zero], f"{name}.quantised"))
        for linear in self.linears:
            graph.replace(linear.product, *before, self._layer(graph, linear))
            before = []
            if linear.addition is not None:
                graph.replace(linear.addition)

    def _arriving(self, values: Array) -> Array:
        return (values - self._shift) / self._scale

    def _layer(self, graph: OnnxGraph, linear: Linear) -> NodeProto:
        name, source = linear.answer, self.value
        steps = at_least(np.abs(linear.weight).max(0)) / _WEIGHT_MOST
        weight = np.round(linear.weight / steps)
        # The mean error of each output is known from the samples, and goes into its bias.
        error = self._rounded.mean @ (weight * steps) - self._arriving(self.seen.mean) @ linear.weight
        inputs = [
            f"{source}.quantised",
            graph.weight(f"{name}.weight", weight.astype(np.int8)),
            f"{source}.step",
            graph.weight(f"{name}.weight_steps", floats(steps)),
            f"{source}.zero",
            # A shared one is refused with the session option x64quantprecision.
            graph.weight(f"{name}.weight_zero", np.array(0, np.int8)),
            graph.weight(f"{name}.bias", floats(linear.bias - error)),
        ]
        return microsoft_node("MatMulIntegerToFloat", inputs, name)


def find_activations(graph: OnnxGraph) -> list[Activation]:
    """What feeds the linear layers of `graph`, in the order of the graph."""
    found: dict[str, list[Linear]] = {}
    for product in graph.nodes:
        weight = graph.constant(product.input[1]) if product.op_type == "MatMul" else None
        if weight is not None and weight.ndim == 2 and weight.dtype == np.float32:
            found.setdefault(product.input[0], []).append(_linear(graph, product, weight))
    return [Activation(value, linears) for value, linears in found.items()]


def _linear(graph: OnnxGraph, product: NodeProto, weight: Array) -> Linear:
    addition = graph.only_user(product.output[0], "Add")
    for value in addition.input if addition is not None else ():
        bias = graph.constant(value)
        if bias is not None and bias.shape == weight.shape[1:]:
            return Linear(product, addition, weight.astype(np.float64), bias.astype(np.float64))
    return Linear(product, None, weight.astype(np.float64), np.zeros(weight.shape[1]))


def at_least(values: Array) -> Array:
    """`values`, none of them less than a small part of the largest, nor 0."""
    return np.maximum(values, max(float(values.max()) * _LEAST, 1e-12))
