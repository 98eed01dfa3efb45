"""The ONNX files of the conformance repository, as bytes."""

from collections.abc import Sequence

from onnx import NodeProto, TensorProto, helper

_OPSET, _IR = 18, 9


def add_sub_int32() -> bytes:
    """INT32 [n, 16], two of them -> their sum and difference."""
    nodes = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    return _pair(TensorProto.INT32, nodes)


def add_sub_int8() -> bytes:
    """INT8 [n, 16], two of them -> their sum and difference, wrapped."""
    return _pair(TensorProto.INT8, _through_int32(TensorProto.INT8))


def add_sub_string() -> bytes:
    """Decimal numbers as strings [n, 16], two of them -> their sum and difference, likewise."""
    return _pair(TensorProto.STRING, _through_int32(TensorProto.STRING))


def identity_string() -> bytes:
    """Strings [n, m] -> the same."""
    return _identity(TensorProto.STRING, ["n", "m"])


def identity_fp32() -> bytes:
    """FP32 [n, m] -> the same."""
    return _identity(TensorProto.FLOAT, ["n", "m"])


def identity_uint8() -> bytes:
    """UINT8 [m] -> the same."""
    return _identity(TensorProto.UINT8, ["m"])


def identity_vector() -> bytes:
    """INT32 [n] -> the same."""
    return _identity(TensorProto.INT32, ["n"])


def _through_int32(kind: int) -> list[NodeProto]:
    """ONNX Runtime adds neither strings nor INT8."""
    return [
        helper.make_node("Cast", ["INPUT0"], ["left"], to=TensorProto.INT32),
        helper.make_node("Cast", ["INPUT1"], ["right"], to=TensorProto.INT32),
        helper.make_node("Add", ["left", "right"], ["sum"]),
        helper.make_node("Sub", ["left", "right"], ["difference"]),
        helper.make_node("Cast", ["sum"], ["OUTPUT0"], to=kind),
        helper.make_node("Cast", ["difference"], ["OUTPUT1"], to=kind),
    ]


def _pair(kind: int, nodes: Sequence[NodeProto]) -> bytes:
    return _bytes(nodes, kind, ["n", 16], ["INPUT0", "INPUT1"], ["OUTPUT0", "OUTPUT1"])


def _identity(kind: int, shape: Sequence[int | str]) -> bytes:
    node = helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])
    return _bytes([node], kind, shape, ["INPUT0"], ["OUTPUT0"])


def _bytes(
    nodes: Sequence[NodeProto], kind: int, shape: Sequence[int | str], inputs: Sequence[str], outputs: Sequence[str]
) -> bytes:
    named = [[helper.make_tensor_value_info(name, kind, shape) for name in names] for names in (inputs, outputs)]
    graph = helper.make_graph(list(nodes), "conformance", named[0], named[1])
    opsets = [helper.make_opsetid("", _OPSET)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=_IR).SerializeToString())
