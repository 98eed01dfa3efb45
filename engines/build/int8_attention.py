"""Attention in whole numbers, so that an answer does not depend on where in a row its text lies.

Floats added in another order differ in the last bit, which can carry a value over the edge between two INT8 steps, and
such a step is seen in the answer. Sums of whole numbers are the same in any order: the exponentials of a softmax are
rounded to steps of 1/127 of the largest, values to INT8, and the division by the sum comes last.
"""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto

from engines.build.int8_layers import Activation, Linear, Ranges, at_least
from engines.build.onnx_graph import OnnxGraph, floats, microsoft_node, node, permutation

_BY_HEAD = [0, 2, 1, 3]
_KEYS = [0, 2, 3, 1]
_STEPS = 127
"""For values and, though they are UINT8, for shares: processors without VNNI add two products in 16 bits."""


@dataclass(slots=True)
class Attention:
    """`softmax` of the scores, times the values that `linear` makes, gives `context`."""

    context: Activation
    softmax: NodeProto
    product: NodeProto
    split: NodeProto
    linear: Linear
    seen: Ranges

    @property
    def values(self) -> str:
        return self.linear.answer

    def fold(self) -> None:
        """Lets each channel of the values fill -1..1; a mean of such values, as the context is, stays within."""
        shift, scale = (self.seen.low + self.seen.high) / 2, at_least((self.seen.high - self.seen.low) / 2)
        self.linear.give(shift, scale)
        self.context.comes_as(shift, scale)

    def write(self, graph: OnnxGraph) -> None:
        """Puts whole-number attention in place of the old one."""
        name, shares = self.product.output[0], self.softmax.output[0]
        last = graph.weight("int8.last_axis", np.array([-1]))
        step, one = graph.weight("int8.step", floats(1 / _STEPS)), graph.weight("int8.one", floats(1))
        zero = graph.weight("int8.zero", np.array(0, np.int8))
        unsigned_zero = graph.weight("int8.unsigned_zero", np.array(0, np.uint8))
        graph.replace(
            self.softmax,
            node("ReduceMax", [self.softmax.input[0], last], f"{shares}.most", keepdims=1),
            node("Sub", [self.softmax.input[0], f"{shares}.most"], f"{shares}.below"),
            node("Exp", [f"{shares}.below"], f"{shares}.exp"),
            node("QuantizeLinear", [f"{shares}.exp", step, unsigned_zero], f"{shares}.int8"),
            node("Cast", [f"{shares}.int8"], f"{shares}.whole", to=TensorProto.FLOAT),
            node("ReduceSum", [f"{shares}.whole", last], f"{shares}.total", keepdims=1),
        )
        graph.replace(
            self.split,
            node("QuantizeLinear", [self.values, step, zero], f"{self.values}.int8"),
            node("Reshape", [f"{self.values}.int8", self.split.input[1]], self.split.output[0]),
        )
        inputs = [f"{shares}.int8", self.product.input[1], one, step, unsigned_zero, zero]
        graph.replace(
            self.product,
            microsoft_node("MatMulIntegerToFloat", inputs, f"{name}.sum"),
            node("Div", [f"{name}.sum", f"{shares}.total"], name),
        )


def find_attentions(graph: OnnxGraph, activations: list[Activation]) -> list[Attention]:
    """The attentions whose values come from a linear layer and whose context feeds one."""
    linears = {linear.answer: linear for activation in activations for linear in activation.linears}
    found = (_attention(graph, activation, linears) for activation in activations)
    return [attention for attention in found if attention is not None]


def _attention(graph: OnnxGraph, context: Activation, linears: dict[str, Linear]) -> Attention | None:
    merge = graph.maker(context.value, "Reshape")
    back = merge and graph.maker(merge.input[0], "Transpose")
    product = back and graph.maker(back.input[0], "MatMul")
    softmax = product and graph.maker(product.input[0], "Softmax")
    by_head = product and graph.maker(product.input[1], "Transpose")
    split = by_head and graph.maker(by_head.input[0], "Reshape")
    linear = linears.get(split.input[0]) if split else None
    if not (back and product and softmax and by_head and split and linear):
        return None
    alone = all(
        graph.only_user(value, user.op_type) == user
        for value, user in (
            (linear.answer, split),
            (split.output[0], by_head),
            (by_head.output[0], product),
            (softmax.output[0], product),
            (product.output[0], back),
        )
    )
    plain = permutation(back) == permutation(by_head) == _BY_HEAD
    only_linear = len(graph.users(context.value)) == len(context.linears)
    return Attention(context, softmax, product, split, linear, Ranges()) if alone and plain and only_linear else None


def lay_keys_by_head(graph: OnnxGraph) -> None:
    """Leaves the channels of a key side by side; the product turns them as it runs, which is quicker."""
    for turn in graph.nodes:
        product = graph.only_user(turn.output[0], "MatMul")
        if turn.op_type != "Transpose" or permutation(turn) != _KEYS or product is None:
            continue
        if product.input[1] == turn.output[0]:
            graph.replace(turn, node("Transpose", turn.input, turn.output[0], perm=_BY_HEAD))
            graph.replace(product, microsoft_node("FusedMatMul", product.input, product.output[0], transB=1))
