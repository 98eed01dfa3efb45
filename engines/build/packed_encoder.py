"""Writes a Hugging Face encoder as a packed ONNX graph, straight from its safetensors.

Inputs `input_ids`, `position_ids`, `segment_ids` INT64 [rows, width]; output `embedding` FP32 [rows, segments, hidden],
`segments` = max(1, width // 4): entry s of a row is the pooled text numbered s there, zeros where there is none.
See `engines.batch.Packed`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import TensorProto

from engines.build.graph import GraphWriter
from engines.encoder_source import EncoderSource, read_encoder
from engines.model_config import TOKENS_PER_SEGMENT

MASKED = -1e4
SMALLEST_NORM = 1e-12

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


def write_packed_encoder(source: Path, target: Path, *, progress: Progress | None = None) -> None:
    """Writes the encoder in folder `source` to the file `target`; raises `ModelLoadError` for what is not supported."""
    encoder = read_encoder(source)
    steps = encoder.layers + 2
    report = progress or (lambda done, total: None)
    graph = GraphWriter(target.stem)
    writer = _EncoderWriter(graph, encoder)
    hidden = writer.embeddings()
    report(1, steps)
    for layer in range(encoder.layers):
        hidden = writer.layer(layer, hidden)
        report(layer + 2, steps)
    graph.output(writer.pooled(hidden), "embedding", ("rows", "segments", encoder.hidden))
    graph.save(target)
    report(steps, steps)


class _EncoderWriter:
    def __init__(self, graph: GraphWriter, encoder: EncoderSource) -> None:
        self._graph = graph
        self._encoder = encoder
        self._head_size = encoder.hidden // encoder.heads
        self._input_ids = graph.input("input_ids", ("rows", "width"))
        self._position_ids = graph.input("position_ids", ("rows", "width"))
        self._segment_ids = graph.input("segment_ids", ("rows", "width"))
        self._zero = graph.integers("axis_0", 0)
        self._one = graph.integers("axis_1", 1)
        self._two = graph.integers("axis_2", 2)
        self._split_heads = graph.integers("split_heads", 0, 0, encoder.heads, self._head_size)
        self._merge_heads = graph.integers("merge_heads", 0, 0, encoder.hidden)
        self._bias = self._attention_bias()

    def _attention_bias(self) -> str:
        """FP32 [rows, 1, width, width]: 0 where two tokens are of one text, `MASKED` elsewhere."""
        graph = self._graph
        down = graph.op("Unsqueeze", self._segment_ids, graph.integers("axes_1_3", 1, 3))
        across = graph.op("Unsqueeze", self._segment_ids, graph.integers("axes_1_2", 1, 2))
        same = graph.op("Equal", down, across)
        visible = graph.scalar("visible", 0.0)
        masked = graph.scalar("masked", MASKED)
        return graph.op("Where", same, visible, masked)

    def embeddings(self) -> str:
        graph, weights = self._graph, self._encoder.weights
        words = graph.weight("words", weights.get("embeddings.word_embeddings.weight"))
        positions = graph.weight("positions", self._encoder.positions)
        word = graph.op("Gather", words, self._input_ids)
        position = graph.op("Gather", positions, self._position_ids)
        return self._norm(graph.op("Add", word, position), "embeddings.LayerNorm")

    def layer(self, number: int, hidden: str) -> str:
        graph, family = self._graph, self._encoder.family
        prefix = f"{family.layer}{number}."
        context = self._attention(prefix, hidden)
        attended = self._linear(context, prefix + family.attended)
        hidden = self._norm(graph.op("Add", attended, hidden), prefix + family.attended_norm)
        raised = self._activation(self._linear(hidden, prefix + family.up))
        lowered = self._linear(raised, prefix + family.down)
        return self._norm(graph.op("Add", lowered, hidden), prefix + family.down_norm)

    def _attention(self, prefix: str, hidden: str) -> str:
        graph, family = self._graph, self._encoder.family
        scale: float = self._head_size**-0.5
        query = self._heads(self._linear(hidden, prefix + family.query, scale), 0, 2, 1, 3)
        key = self._heads(self._linear(hidden, prefix + family.key), 0, 2, 3, 1)
        value = self._heads(self._linear(hidden, prefix + family.value), 0, 2, 1, 3)
        scores = graph.op("Add", graph.op("MatMul", query, key), self._bias)
        context = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
        return graph.op("Reshape", graph.op("Transpose", context, perm=[0, 2, 1, 3]), self._merge_heads)

    def _heads(self, value: str, *order: int) -> str:
        split = self._graph.op("Reshape", value, self._split_heads)
        return self._graph.op("Transpose", split, perm=list(order))

    def _linear(self, value: str, name: str, scale: float = 1.0) -> str:
        graph, weights = self._graph, self._encoder.weights
        weight = weights.get(f"{name}.weight").T * np.float32(scale)
        bias = weights.get(f"{name}.bias") * np.float32(scale)
        product = graph.op("MatMul", value, graph.weight(f"{name}.weight", weight))
        return graph.op("Add", product, graph.weight(f"{name}.bias", bias))

    def _activation(self, value: str) -> str:
        match self._encoder.activation:
            case "gelu":
                return self._graph.op("Gelu", value)
            case "gelu_tanh":
                return self._graph.op("Gelu", value, approximate="tanh")
            case "relu":
                return self._graph.op("Relu", value)

    def _norm(self, value: str, name: str) -> str:
        graph, weights = self._graph, self._encoder.weights
        scale = graph.weight(f"{name}.weight", weights.get(f"{name}.weight"))
        bias = graph.weight(f"{name}.bias", weights.get(f"{name}.bias"))
        return graph.op("LayerNormalization", value, scale, bias, axis=-1, epsilon=self._encoder.epsilon)

    def pooled(self, hidden: str) -> str:
        """FP32 [rows, segments, hidden]."""
        graph = self._graph
        members = self._members()
        total = graph.op("MatMul", members, hidden)
        if self._encoder.normalise:
            floor = graph.scalar("smallest_norm", SMALLEST_NORM)
            norm = graph.op("ReduceL2", total, self._two, keepdims=1)
            return graph.op("Div", total, graph.op("Max", norm, floor))
        count = graph.op("ReduceSum", members, self._two, keepdims=1)
        return graph.op("Div", total, graph.op("Max", count, graph.scalar("smallest_count", 1.0)))

    def _members(self) -> str:
        """FP32 [rows, segments, width]: 1 where a token counts for the text of that number."""
        graph = self._graph
        start, step = graph.weight("first", np.zeros((), np.int64)), graph.weight("step", np.ones((), np.int64))
        share = graph.weight("tokens_per_segment", np.array(TOKENS_PER_SEGMENT, np.int64))
        width = graph.op("Squeeze", graph.op("Shape", self._segment_ids, start=1, end=2), self._zero)
        segments = graph.op("Max", graph.op("Div", width, share), step)
        numbers = graph.op("Unsqueeze", graph.op("Range", start, segments, step), self._one)
        member = graph.op("Equal", graph.op("Unsqueeze", self._segment_ids, self._one), numbers)
        if self._encoder.pooling == "cls":
            at_start = graph.op("Equal", self._position_ids, start)
            member = graph.op("And", member, graph.op("Unsqueeze", at_start, self._one))
        return graph.op("Cast", member, to=TensorProto.FLOAT)
