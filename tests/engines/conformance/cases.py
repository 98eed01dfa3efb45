"""Every engine in every layout it serves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from engines.batch import Padded, Ragged
from engines.build.packed_encoder import write_packed_encoder
from engines.tensor import Array, Tensors
from tests.engines.conformance import graphs
from tests.engines.conformance.reference import HIDDEN, VOCABULARY, Reference, write_encoder
from tests.engines.conformance.subject import Case, Subject, options, packed, parameter, stacked, tensor

LENGTHS = (3, 7, 16, 4, 12, 5, 9, 4, 4, 4)
CLASSES, FEATURES = 5, 6


def identity(folder: Path) -> Subject:
    text = (
        'backend: "identity" max_batch_size: 16\n'
        + tensor("input", "number", "INT32", 2)
        + tensor("input", "words", "STRING", -1)
        + tensor("output", "same_number", "INT32", 2)
        + tensor("output", "same_words", "STRING", -1)
    )
    requests = tuple({"number": np.array([[i, -i]], np.int32), "words": words(f"a{i}", "")} for i in range(7))
    return Subject(
        options(folder, text),
        requests,
        lambda request: {"same_number": request["number"], "same_words": request["words"]},
        stacked,
    )


def linear(folder: Path) -> Subject:
    random = np.random.default_rng(5)
    weight = random.normal(0, 1, (CLASSES, FEATURES)).astype(np.float32)
    bias = random.normal(0, 1, CLASSES).astype(np.float32)
    labels = [f"intent_{number}" for number in range(CLASSES)]
    (folder / "labels.txt").write_text("\n".join(labels))
    text = (
        'backend: "linear" max_batch_size: 16\n'
        + tensor("input", "embedding", "FP32", FEATURES)
        + tensor("output", "label", "STRING", 1)
        + tensor("output", "confidence", "FP32", 1)
        + tensor("output", "logits", "FP32", CLASSES, extra='label_filename: "labels.txt"')
    )
    opened = options(folder, text)
    save_file({"weight": weight, "bias": bias}, opened.folder / "head.safetensors")

    def reference(request: Tensors) -> dict[str, Array]:
        logits = request["embedding"].astype(np.float64) @ weight.T + bias
        shares = np.exp(logits) / np.exp(logits).sum()
        return {"label": words(labels[logits.argmax()]), "confidence": shares.max(keepdims=True), "logits": logits}

    requests = tuple({"embedding": random.normal(0, 1, (1, FEATURES)).astype(np.float32)} for _ in range(9))
    return Subject(opened, requests, reference, stacked)


def add_sub(backend: str) -> Callable[[Path], Subject]:
    def build(folder: Path) -> Subject:
        graphs.add_sub(folder / "1" / "model.onnx")
        text = f'backend: "{backend}" max_batch_size: 16\n'
        text += tensor("input", "a", "INT32", 4) + tensor("input", "b", "INT32", 4)
        text += tensor("output", "total", "INT32", 4) + tensor("output", "difference", "INT32", 4)
        requests = tuple(
            {"a": np.array([[i, 2, 3, 4]], np.int32), "b": np.array([[1, i, -i, 2**31 - 5]], np.int32)}
            for i in range(6)
        )
        return Subject(
            options(folder, text),
            requests,
            lambda r: {"total": r["a"] + r["b"], "difference": r["a"] - r["b"]},
            stacked,
        )

    return build


def same_text(backend: str) -> Callable[[Path], Subject]:
    def build(folder: Path) -> Subject:
        graphs.same_text(folder / "1" / "model.onnx")
        text = f'backend: "{backend}" max_batch_size: 16\n'
        text += tensor("input", "words", "STRING", 2) + tensor("output", "same", "STRING", 2)
        requests = tuple(
            {"words": words(*pair)} for pair in (("card", "é"), ("", "猫"), ("lost", "a" * 300), ("\0a", "a\0b"))
        )
        return Subject(options(folder, text), requests, lambda r: {"same": r["words"]}, stacked)

    return build


def masked_mean(backend: str) -> Callable[[Path], Subject]:
    def build(folder: Path) -> Subject:
        graphs.masked_mean(folder / "1" / "model.onnx")
        text = f'backend: "{backend}" max_batch_size: 16\n'
        text += tensor("input", "input_ids", "INT64", -1) + tensor("input", "attention_mask", "INT64", -1)
        text += tensor("output", "mean", "FP32", graphs.HIDDEN)
        text += parameter("padding.input_ids", "0") + parameter("padding.attention_mask", "0")
        random = np.random.default_rng(1)
        ids = [random.integers(0, graphs.VOCABULARY, (1, length)) for length in LENGTHS]
        table = graphs.embedding_table()
        return Subject(
            options(folder, text),
            tuple({"input_ids": each, "attention_mask": np.ones_like(each)} for each in ids),
            lambda r: {"mean": table[r["input_ids"]].mean(axis=1)},
            lambda requests: Padded(
                (1,) * len(requests),
                max(r["input_ids"].shape[1] for r in requests),
                {"input_ids": 0, "attention_mask": 0},
            ),
        )

    return build


def ragged_sum(backend: str) -> Callable[[Path], Subject]:
    def build(folder: Path) -> Subject:
        graphs.ragged_sum(folder / "1" / "model.onnx")
        text = f'backend: "{backend}" max_batch_size: 16\n'
        text += tensor("input", "values", "FP32", -1, extra="allow_ragged_batch: true")
        text += tensor("output", "total", "FP32", 1)
        text += (
            'batch_input { kind: BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO target_name: "ends" '
            'data_type: TYPE_INT32 source_input: "values" }'
        )
        opened = options(folder, text)
        random = np.random.default_rng(2)
        return Subject(
            opened,
            tuple({"values": random.normal(0, 1, (1, length)).astype(np.float32)} for length in LENGTHS),
            lambda r: {"total": r["values"].sum(axis=1, keepdims=True)},
            lambda requests: Ragged((1,) * len(requests), frozenset({"values"}), opened.config.batch_inputs),
        )

    return build


def packed_encoder(backend: str, precision: str, tolerance: float) -> Callable[[Path], Subject]:
    def build(folder: Path) -> Subject:
        encoder = folder / "1"
        write_encoder(encoder)
        if backend != "pytorch":
            write_packed_encoder(encoder, encoder / "model.onnx")
        text = f'backend: "{backend}" max_batch_size: 16\n'
        text += "".join(tensor("input", name, "INT64", -1) for name in ("input_ids", "position_ids", "segment_ids"))
        text += tensor("output", "embedding", "FP32", -1, HIDDEN)
        text += parameter("packing.widths", "16,32") + parameter("packing.max_tokens", "64")
        text += parameter("precision", precision) + parameter("tolerance", str(tolerance))
        random = np.random.default_rng(4)
        requests = tuple({"input_ids": random.integers(1, VOCABULARY, length)} for length in LENGTHS)
        return Subject(options(folder, text), requests, Reference.read(encoder).embed, packed(32))

    return build


def words(*texts: str) -> Array:
    """BYTES [1, len(texts)]."""
    array = np.empty((1, len(texts)), object)
    array[0] = [text.encode() for text in texts]
    return array


CASES = (
    Case("identity", "", identity),
    Case("linear", "", linear),
    Case("onnxruntime-stacked", "onnxruntime", add_sub("onnxruntime")),
    Case("onnxruntime-bytes", "onnxruntime", same_text("onnxruntime")),
    Case("onnxruntime-padded", "onnxruntime", masked_mean("onnxruntime")),
    Case("onnxruntime-ragged", "onnxruntime", ragged_sum("onnxruntime")),
    Case("onnxruntime-packed", "onnxruntime", packed_encoder("onnxruntime", "fp32", 0.9999)),
    Case("openvino-stacked", "openvino", add_sub("openvino")),
    Case("openvino-padded", "openvino", masked_mean("openvino")),
    Case("openvino-ragged", "openvino", ragged_sum("openvino")),
    Case("openvino-packed", "openvino", packed_encoder("openvino", "fp32", 0.9999)),
    Case("pytorch-fp32", "torch", packed_encoder("pytorch", "fp32", 0.9999)),
    Case("pytorch-bf16", "torch", packed_encoder("pytorch", "bf16", 0.999)),
    Case("pytorch-fp16", "torch", packed_encoder("pytorch", "fp16", 0.9999)),
    Case("pytorch-int8", "torch", packed_encoder("pytorch", "int8", 0.999)),
)
