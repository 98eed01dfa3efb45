"""ONNX Runtime's int8: near the fp32 graph, really in whole numbers, and the same answer whoever shares the batch."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from engines.batch import Packed, Placement
from engines.build.calibration import packed_samples, random_samples, read_corpus
from engines.build.graph import GraphWriter
from engines.build.packed_encoder import write_packed_encoder
from engines.build.quantize_onnx import quantize_onnx
from engines.errors import EngineError
from engines.tensor import Array
from engines.text import Tokenizer
from tests.engines.tiny_encoder import VOCABULARY, write_encoder
from tests.engines.vnni import NEEDS_VNNI

SHIPPED = Path(__file__).parents[2] / "model_repository" / "minilm_onnx"


def ignore(step: str, done: int, total: int) -> None:
    """Shows nothing."""


def random_texts(count: int, longest: int = 14, seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    inner = [random.integers(5, len(VOCABULARY), random.integers(1, longest - 1)) for _ in range(count)]
    return [np.array([2, *tokens, 3]) for tokens in inner]


def tiny(folder: Path, activation: str = "gelu") -> Path:
    """The packed fp32 graph of a tiny encoder."""
    source = write_encoder(folder / "source")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"hidden_act": activation}))
    write_packed_encoder(source, folder / "fp32.onnx")
    return folder / "fp32.onnx"


def quantised(graph: Path, texts: Sequence[Array], width: int = 32) -> Path:
    target = graph.with_name("int8.onnx")
    quantize_onnx(graph, target, packed_samples(texts, width, 4), ignore)
    return target


def opened(path: Path) -> onnxruntime.InferenceSession:
    """A session as our engine opens it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    off = ["SkipLayerNormFusion"]
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=off)


def embedded(session: onnxruntime.InferenceSession, texts: Sequence[Array], layout: Packed) -> Array:
    batch = layout.collate([{"input_ids": text} for text in texts])
    found = session.run(None, batch.inputs)[0]
    return np.stack([found[place.row, place.segment] for place in layout.placements])


def alone(session: onnxruntime.InferenceSession, texts: Sequence[Array]) -> Array:
    """Each text in a batch of its own."""
    layouts = [Packed(1, max(16, len(text)), (Placement(0, 0, 0),)) for text in texts]
    return np.concatenate([embedded(session, [t], layout) for t, layout in zip(texts, layouts, strict=True)])


def neighbourhoods(
    texts: Sequence[Array], width: int, random: np.random.Generator
) -> Iterator[tuple[list[int], Packed]]:
    """All texts in random order and rows, gaps between them, in batches of up to 6 rows: their numbers, the layout."""
    members: list[int] = []
    places: list[Placement] = []
    row, start, segment, rows = 0, 0, 0, int(random.integers(1, 7))
    for number in random.permutation(len(texts)).tolist():
        start += int(random.integers(0, 4))
        if start + len(texts[number]) > width or segment == width // 4:
            row, start, segment = row + 1, 0, 0
        if row == rows:
            yield members, Packed(rows, width, tuple(places))
            members, places, row, rows = [], [], 0, int(random.integers(1, 7))
        members.append(number)
        places.append(Placement(row, start, segment))
        start, segment = start + len(texts[number]), segment + 1
    yield members, Packed(rows, width, tuple(places))


def farthest(session: onnxruntime.InferenceSession, texts: Sequence[Array], widths: Sequence[int], times: int) -> float:
    """The largest difference between an answer alone and one of those in `times` random neighbourhoods."""
    random = np.random.default_rng(7)
    wanted = alone(session, texts)
    worst = 0.0
    for _ in range(times):
        for members, layout in neighbourhoods(texts, int(random.choice(widths)), random):
            found = embedded(session, [texts[i] for i in members], layout)
            worst = max(worst, float(np.abs(found - wanted[members]).max()))
    return worst


def cosines(found: Array, wanted: Array) -> Array:
    return (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_int8_is_near_fp32(tmp_path: Path, activation: str) -> None:
    graph = tiny(tmp_path, activation)
    session = opened(quantised(graph, random_texts(100)))
    texts = random_texts(50, seed=1)
    near = cosines(alone(session, texts), alone(opened(graph), texts))
    assert near.min() > 0.99
    assert near.mean() > 0.998


def test_all_that_is_multiplied_by_weights_is_int8_with_fixed_scales(tmp_path: Path) -> None:
    model = onnx.load(quantised(tiny(tmp_path), random_texts(40)))
    constants = {weight.name: weight for weight in model.graph.initializer}
    kinds = [node.op_type for node in model.graph.node]
    assert not [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    assert "DynamicQuantizeLinear" not in kinds
    layers = [n for n in model.graph.node if n.op_type == "MatMulIntegerToFloat" and n.input[1] in constants]
    assert len(layers) == 2 * 6
    for layer in layers:
        weight, scales = constants[layer.input[1]], constants[layer.input[3]]
        assert weight.data_type == onnx.TensorProto.INT8
        assert list(scales.dims) == [weight.dims[1]]
        assert {layer.input[2], layer.input[4]} <= constants.keys()
    large = [
        w for w in constants.values() if len(w.dims) == 2 and w.data_type == onnx.TensorProto.FLOAT and w.dims[1] > 1
    ]
    assert not large


def test_only_the_target_is_written(tmp_path: Path) -> None:
    graph = tiny(tmp_path)
    before = set(tmp_path.iterdir())
    target = quantised(graph, random_texts(20))
    assert set(tmp_path.iterdir()) - before == {target}


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    samples = packed_samples(random_texts(40), 32, 4)
    quantize_onnx(tiny(tmp_path), tmp_path / "int8.onnx", samples, lambda *step: told.append(step))
    assert [step for step, done, _ in told if done == 0] == ["measure ranges", "measure errors", "write the graph"]
    assert all(done <= total for _, done, total in told)


def test_the_answer_does_not_depend_on_neighbours(tmp_path: Path) -> None:
    session = opened(quantised(tiny(tmp_path), random_texts(100)))
    assert farthest(session, random_texts(200, seed=2), (16, 20, 32, 64), 20) <= 1e-6


def test_what_is_rounded_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    """A difference there, however small, would now and then be rounded to another step."""
    model = onnx.load(quantised(tiny(tmp_path), random_texts(100)))
    rounded = [n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear" and ".exp" not in n.input[0]]
    assert len(rounded) == 2 * 5
    unknown = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 3) for name in rounded]
    model.graph.output.extend(unknown)
    onnx.save(model, tmp_path / "watched.onnx")
    session = opened(tmp_path / "watched.onnx")
    texts = random_texts(60, seed=3)

    def seen(layout: Packed, members: Sequence[int]) -> Iterator[tuple[int, list[Array]]]:
        found = session.run(rounded, layout.collate([{"input_ids": texts[i]} for i in members]).inputs)
        for number, place in zip(members, layout.placements, strict=True):
            yield number, [value[place.row, place.start : place.start + len(texts[number])] for value in found]

    wanted = [next(seen(Packed(1, 16, (Placement(0, 0, 0),)), [i]))[1] for i in range(len(texts))]
    for members, layout in neighbourhoods(texts, 50, np.random.default_rng(0)):
        for number, values in seen(layout, members):
            for one, other in zip(values, wanted[number], strict=True):
                np.testing.assert_array_equal(one, other)


def test_padding_does_not_widen_the_ranges(tmp_path: Path) -> None:
    texts = random_texts(40)
    full, sparse = packed_samples(texts, 32, 4), packed_samples(texts, 64, 1)
    graph = tiny(tmp_path)
    quantize_onnx(graph, tmp_path / "full.onnx", full, ignore)
    quantize_onnx(graph, tmp_path / "sparse.onnx", sparse, ignore)
    close = cosines(alone(opened(tmp_path / "full.onnx"), texts), alone(opened(tmp_path / "sparse.onnx"), texts))
    assert close.min() > 0.99999


@NEEDS_VNNI
def test_a_layer_without_bias_or_attention(tmp_path: Path) -> None:
    graph = GraphWriter("plain")
    ids, segments = graph.input("input_ids", ("rows", "width")), graph.input("segment_ids", ("rows", "width"))
    random = np.random.default_rng(0)
    table, weight = (random.normal(size=shape).astype(np.float32) for shape in ((20, 8), (8, 6)))
    product = graph.op("MatMul", graph.op("Gather", graph.weight("table", table), ids), graph.weight("weight", weight))
    here = graph.op("Unsqueeze", graph.op("Cast", segments, to=onnx.TensorProto.FLOAT), graph.integers("last", -1))
    graph.output(graph.op("Sub", product, here), "embedding", ("rows", "width", 6))
    graph.save(tmp_path / "fp32.onnx")
    batch = {"input_ids": np.arange(20).reshape(2, 10), "segment_ids": np.zeros((2, 10), np.int64)}
    quantize_onnx(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", [batch], ignore)
    (found,) = opened(tmp_path / "int8.onnx").run(None, batch)
    np.testing.assert_allclose(found, table[batch["input_ids"]] @ weight, atol=0.1)
    assert np.abs(found - table[batch["input_ids"]] @ weight).max() > 0


def failure(graph: Path, samples: Sequence[dict[str, Array]]) -> str:
    with pytest.raises(EngineError) as raised:
        quantize_onnx(graph, graph.with_name("int8.onnx"), samples, ignore)
    assert not graph.with_name("int8.onnx").exists()
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_no_samples(tmp_path: Path) -> None:
    assert "calibration samples" in failure(tiny(tmp_path), [])


def test_samples_of_padding_alone(tmp_path: Path) -> None:
    ids = np.zeros((1, 16), np.int64)
    samples = [{"input_ids": ids, "position_ids": ids, "segment_ids": ids - 1}]
    assert "no tokens" in failure(tiny(tmp_path), samples)


def test_samples_that_do_not_fit(tmp_path: Path) -> None:
    message = failure(tiny(tmp_path), [{"input_ids": np.zeros((1, 16), np.int64)}])
    assert "fp32.onnx: does not take the samples" in message


def test_nothing_to_quantise(tmp_path: Path) -> None:
    graph = GraphWriter("sum")
    ids = graph.input("input_ids", ("rows", "width"))
    graph.output(graph.op("Cast", ids, to=onnx.TensorProto.FLOAT), "embedding", ("rows", "width"))
    graph.save(tmp_path / "fp32.onnx")
    assert "no MatMul with constant FP32 weights" in failure(
        tmp_path / "fp32.onnx", packed_samples(random_texts(4), 32, 1)
    )


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07\x3a\x02\x0a\xff"])
def test_a_corrupt_graph(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fp32.onnx").write_bytes(content)
    assert "fp32.onnx" in failure(tmp_path / "fp32.onnx", packed_samples(random_texts(4), 32, 1))


def test_weights_outside_the_folder(tmp_path: Path) -> None:
    graph = tiny(tmp_path)
    model = onnx.load(graph)
    (tmp_path / "inner").mkdir()
    onnx.save_model(model, tmp_path / "fp32.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    moved = tmp_path / "inner" / "fp32.onnx"
    moved.write_bytes((tmp_path / "fp32.onnx").read_bytes().replace(b"weights", b"../wght"))
    (tmp_path / "weights").rename(tmp_path / "wght")
    assert "external_data" in failure(moved, packed_samples(random_texts(4), 32, 1))


@NEEDS_VNNI
def test_minilm_on_banking77(tmp_path: Path, banking77: Path) -> None:
    graph = SHIPPED / "1" / "model.onnx"
    if not graph.exists():
        pytest.skip("minilm_onnx is not built: run `batchyard build`")
    tokenizer = Tokenizer.from_file(SHIPPED / "tokenizer.json", 64, truncate=True)
    train, dev = (tokenizer.encode(read_corpus(banking77 / name)) for name in ("train.csv", "dev.csv"))
    target = tmp_path / "int8.onnx"
    samples = packed_samples([train[i] for i in random_samples(len(train), 128, 0)], 64, 4)
    quantize_onnx(graph, target, samples, ignore)
    assert target.stat().st_size <= 0.3 * graph.stat().st_size
    session = opened(target)
    texts = [dev[i] for i in random_samples(len(dev), 200, 1)]
    near = cosines(alone(session, texts), alone(opened(graph), texts))
    assert near.mean() >= 0.997
    assert near.min() >= 0.99
    assert farthest(session, texts, (64, 128, 256), 20) <= 1e-6
