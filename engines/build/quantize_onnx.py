"""INT8 for ONNX Runtime on the CPU: linear layers, attention's sums and the tables of a packed encoder.

Layers take UINT8 activations with fixed scales and INT8 weights with a scale for each output
(`MatMulIntegerToFloat`): the kernels that are quick on x86. With INT8 for both, MLAS (ONNX Runtime 1.32) has no quick
one. Normalisation, activation functions and scores stay FP32.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto, TensorProto

from engines.build.calibration import Samples
from engines.build.errors import BuildError
from engines.build.int8_attention import Attention, find_attentions, lay_keys_by_head
from engines.build.int8_layers import Activation, find_activations
from engines.build.onnx_graph import OnnxGraph, floats, node
from engines.build.progress import Show
from engines.cores import available_cores, threads_per_instance
from engines.tensor import Array

if TYPE_CHECKING:
    import onnxruntime

_TABLE_MOST = 127
_SEGMENTS = "segment_ids"


def quantize_onnx(onnx: Path, target: Path, samples: Samples, report: Show) -> None:
    """Writes the INT8 form of the packed encoder `onnx` to `target`, with the ranges that `samples` show.

    An answer depends on its own text only, to the last bits of the pooling. Raises `EngineError` where the graph cannot
    be read, has no linear layer or does not take the samples, and where there are no samples.
    """
    if not samples:
        raise BuildError("int8 needs calibration samples and got none; give a file with texts")
    graph = OnnxGraph(onnx)
    activations = find_activations(graph)
    if not activations:
        raise BuildError(f"{onnx.name}: has no MatMul with constant FP32 weights, nothing to make int8; use fp32")
    attentions = find_attentions(graph, activations)
    inputs, values = [a.value for a in activations], [a.values for a in attentions]
    with _watched(graph, target.parent, [*inputs, *values]) as session:
        seen = [*(a.seen for a in activations), *(a.seen for a in attentions)]
        for done, found in enumerate(_tokens(session, onnx, samples, [*inputs, *values])):
            report("measure ranges", done, len(samples))
            for ranges, tokens in zip(seen, found, strict=True):
                ranges.see(tokens)
        if not seen[0].count:
            raise BuildError("int8 needs calibration samples and got no tokens; give a file with texts")
        _choose(activations, attentions)
        for done, found in enumerate(_tokens(session, onnx, samples, inputs)):
            report("measure errors", done, len(samples))
            for activation, tokens in zip(activations, found, strict=True):
                activation.see_rounded(tokens)
    report("write the graph", 0, 1)
    _rewrite(graph, activations, attentions)
    graph.save(target)
    report("write the graph", 1, 1)


def _choose(activations: Sequence[Activation], attentions: Sequence[Attention]) -> None:
    """Decides what the INT8 steps of everything stand for, from what was seen."""
    for attention in attentions:
        attention.fold()
    folded = {attention.context.value for attention in attentions}
    for activation in activations:
        if activation.value not in folded:
            activation.balance()
        activation.choose_step()


def _rewrite(graph: OnnxGraph, activations: Sequence[Activation], attentions: Sequence[Attention]) -> None:
    for activation in activations:
        activation.write(graph)
    for attention in attentions:
        attention.write(graph)
    lay_keys_by_head(graph)
    for lookup in graph.nodes:
        table = graph.constant(lookup.input[0]) if lookup.op_type == "Gather" else None
        if table is not None and table.ndim == 2 and table.dtype == np.float32:
            graph.replace(lookup, *_lookup(graph, lookup, table))


@contextmanager
def _watched(graph: OnnxGraph, folder: Path, values: Sequence[str]) -> Iterator["onnxruntime.InferenceSession"]:
    """A session on the FP32 graph that answers `values` too."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads_per_instance(available_cores(), 1)
    options.log_severity_level = 4
    with TemporaryDirectory(dir=folder, prefix="calibration-") as scratch:
        path = Path(scratch) / "model.onnx"
        graph.save(path, values)
        yield onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _tokens(
    session: "onnxruntime.InferenceSession", onnx: Path, samples: Samples, values: Sequence[str]
) -> Iterator[list[Array]]:
    """For each sample the `values` [tokens, channels] of the tokens that belong to a text."""
    for sample in samples:
        try:
            found = session.run(list(values), dict(sample))
            real = sample[_SEGMENTS] >= 0
            yield [value[real] for value in found]
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            raise BuildError(f"{onnx.name}: does not take the samples: {' '.join(str(error).split())}") from error


def _lookup(graph: OnnxGraph, lookup: NodeProto, table: Array) -> list[NodeProto]:
    """The rows of an embedding table, kept as INT8 with a scale for each."""
    name, answer = lookup.input[0], lookup.output[0]
    steps = np.maximum(np.abs(table).max(1, keepdims=True), 1e-12) / _TABLE_MOST
    rows = graph.weight(f"{name}.int8", np.round(table / steps).astype(np.int8))
    scales = graph.weight(f"{name}.steps", floats(steps))
    return [
        node("Gather", [rows, lookup.input[1]], f"{answer}.row"),
        node("Gather", [scales, lookup.input[1]], f"{answer}.row_step"),
        node("Cast", [f"{answer}.row"], f"{answer}.row_whole", to=TensorProto.FLOAT),
        node("Mul", [f"{answer}.row_whole", f"{answer}.row_step"], answer),
    ]
