"""OpenVINO's int8: near FP32, small, the same for a text wherever it lies, and made without a word to anybody."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines import open_engine
from engines.base import Engine, EngineOptions
from engines.batch import Batch
from engines.build.calibration import packed_samples, random_samples, read_corpus
from engines.build.errors import BuildError
from engines.build.packed_encoder import write_packed_encoder
from engines.build.quantize_openvino import quantize_openvino
from engines.repository import read_config
from engines.tensor import Array
from engines.text import Tokenizer
from tests.engines.conformance.reference import HIDDEN, VOCABULARY, write_encoder
from tests.engines.small_onnx import options
from tests.engines.vnni import NEEDS_VNNI

for needed in ("openvino", "nncf"):
    if find_spec(needed) is None:
        pytest.skip(f"the package {needed} is not installed", allow_module_level=True)

REPOSITORY = Path(__file__).parents[2] / "model_repository"
WIDTHS = (16, 32, 64)
PACKED = (
    "max_batch_size: 32\n"
    + "".join(
        f'input {{ name: "{name}" data_type: TYPE_INT64 dims: [ -1 ] }}\n'
        for name in ("input_ids", "position_ids", "segment_ids")
    )
    + f'output {{ name: "embedding" data_type: TYPE_FP32 dims: [ -1, {HIDDEN} ] }}\n'
    + f'parameters {{ key: "batchyard.packing.widths" value {{ string_value: "{",".join(map(str, WIDTHS))}" }} }}\n'
    + 'parameters { key: "batchyard.packing.max_tokens" value { string_value: "256" } }\n'
)
INT8 = PACKED + 'parameters { key: "batchyard.precision" value { string_value: "int8" } }\n'


def made_up(count: int, seed: int) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.integers(1, VOCABULARY, random.integers(3, 16)) for _ in range(count)]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    write_encoder(folder / "encoder")
    (folder / "fp32" / "1").mkdir(parents=True)
    write_packed_encoder(folder / "encoder", folder / "fp32" / "1" / "model.onnx")
    return folder / "fp32" / "1" / "model.onnx"


@pytest.fixture(scope="module")
def model(graph: Path) -> Path:
    """The folder of the int8 model."""
    folder = graph.parents[2] / "int8"
    (folder / "1").mkdir(parents=True)
    samples = packed_samples(made_up(60, 1), 64, 2)
    quantize_openvino(graph, folder / "1" / "model.xml", samples, lambda step, done, total: None)
    return folder


def embed(engine: Engine, batches: Sequence[Batch], order: Sequence[Sequence[int]]) -> Array:
    """The embedding of every text; `order` has the texts of each batch as they lie in it."""
    found: dict[int, Array] = {}
    for batch, texts in zip(batches, order, strict=True):
        output = engine.run(batch).get("embedding")
        assert output is not None
        places = [(row, s) for row in range(batch.size) for s in range(batch.inputs["segment_ids"][row].max() + 1)]
        found.update({text: output[place] for text, place in zip(texts, places, strict=True)})
    return np.stack([found[text] for text in sorted(found)])


def packed(tokens: Sequence[Array], order: Sequence[int], width: int, rows: int) -> tuple[list[Batch], list[list[int]]]:
    """The texts in this order, a new row where one is full; texts longer than `width` are not in it."""
    laid: list[list[int]] = [[]]
    for text in order:
        if len(tokens[text]) > width:
            continue
        used = sum(len(tokens[other]) for other in laid[-1])
        if used + len(tokens[text]) > width or len(laid[-1]) == width // 4:
            laid.append([])
        laid[-1].append(text)
    groups = [laid[start : start + rows] for start in range(0, len(laid), rows)]
    return [batch_of(tokens, group, width) for group in groups], [[t for row in group for t in row] for group in groups]


def batch_of(tokens: Sequence[Array], group: Sequence[Sequence[int]], width: int) -> Batch:
    inputs = {name: np.zeros((len(group), width), np.int64) for name in ("input_ids", "position_ids", "segment_ids")}
    inputs["segment_ids"] -= 1
    for number, row in enumerate(group):
        start = 0
        for segment, text in enumerate(row):
            here = (number, slice(start, start + len(tokens[text])))
            inputs["input_ids"][here] = tokens[text]
            inputs["position_ids"][here] = np.arange(len(tokens[text]))
            inputs["segment_ids"][here] = segment
            start += len(tokens[text])
    return Batch(inputs, len(group))


def alone(engine: Engine, tokens: Sequence[Array], widths: Sequence[int]) -> Array:
    """Each text by itself in the narrowest row, as it runs when nothing else waits."""
    rows = [batch_of(tokens, [[i]], next(w for w in widths if w >= len(ids))) for i, ids in enumerate(tokens)]
    return embed(engine, rows, [[i] for i in range(len(tokens))])


def worst_difference(engine: Engine, tokens: Sequence[Array], widths: Sequence[int], neighbourhoods: int) -> float:
    """Between a text alone and the same in rows of any width and number, at any place, with random neighbours."""
    random = np.random.default_rng(0)
    expected = alone(engine, tokens, widths)
    worst = 0.0
    for number in range(neighbourhoods):
        width = widths[number % len(widths)]
        fitting = [i for i, ids in enumerate(tokens) if len(ids) <= width]
        rows = int(random.integers(1, 256 // width + 1))
        batches, order = packed(tokens, random.permutation(len(tokens)).tolist(), width, rows)
        worst = max(worst, float(np.abs(embed(engine, batches, order) - expected[fitting]).max()))
    return worst


@NEEDS_VNNI
def test_it_is_near_fp32(graph: Path, model: Path) -> None:
    tokens = made_up(100, 2)
    exact = open_engine(options(graph.parents[1], "openvino", PACKED))
    rounded = open_engine(options(model, "openvino", INT8))
    wanted, found = alone(exact, tokens, WIDTHS), alone(rounded, tokens, WIDTHS)
    cosine = (wanted * found).sum(axis=1) / np.linalg.norm(wanted, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.min() > 0.99
    assert cosine.max() < 1 - 1e-7, "this is not int8"
    exact.close()
    rounded.close()


def test_all_layers_with_weights_are_int8_and_attention_is_not(model: Path) -> None:
    text = (model / "1" / "model.xml").read_text()
    assert text.count('type="MatMul"') == 2 * 6 + 2 * 2 + 1
    assert text.count('element_type="i8"') >= 2 * 6 + 1
    assert text.count('type="FakeQuantize"') == 2 * 4 + 0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_text_alone_and_among_others_is_the_same(model: Path, threads: int) -> None:
    engine = open_engine(replace(options(model, "openvino", INT8), threads=threads, lone_threads=2))
    assert worst_difference(engine, made_up(6000, 3), WIDTHS, 3) <= 1e-5  # a wrong rounding is one in some millions
    engine.close()


@pytest.fixture
def minilm(tmp_path: Path, banking77: Path) -> Path:
    """The shipped OpenVINO model with its graph in int8, calibrated on Banking77's training messages."""
    graph = REPOSITORY / "minilm_onnx" / "1" / "model.onnx"
    if not graph.is_file():
        pytest.skip("minilm_onnx is not built: run `batchyard build`")
    shipped, made = REPOSITORY / "minilm_openvino", tmp_path / "minilm_openvino"
    (made / "1").mkdir(parents=True)
    (made / "tokenizer.json").write_bytes((shipped / "tokenizer.json").read_bytes())
    int8 = 'parameters { key: "batchyard.precision" value { string_value: "int8" } }'
    (made / "config.pbtxt").write_text(f"{(shipped / 'config.pbtxt').read_text()}\n{int8}\n")
    tokens = Tokenizer.from_file(made / "tokenizer.json", 64, truncate=True).encode(
        read_corpus(banking77 / "train.csv")
    )
    samples = packed_samples([tokens[i] for i in random_samples(len(tokens), 96, 0)], 64, 4)
    quantize_openvino(graph, made / "1" / "model.xml", samples, lambda *step: None)
    return made


def test_minilm_alone_and_among_others_is_the_same(minilm: Path, banking77: Path) -> None:
    config = read_config(minilm)
    assert config.packing is not None
    tokenizer = Tokenizer.from_file(minilm / "tokenizer.json", 256)
    tokens = tokenizer.encode(read_corpus(banking77 / "dev.csv")[::7][:200])
    engine = open_engine(EngineOptions(config, minilm / "1", threads=1, lone_threads=2))
    assert worst_difference(engine, tokens, config.packing.widths, 20) <= 1e-5
    engine.close()


def test_progress_is_told_to_the_end_and_nncf_is_quiet(
    graph: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[str, int, int]] = []
    samples = packed_samples(made_up(20, 1), 32, 2)
    quantize_openvino(graph, tmp_path / "model.xml", samples, lambda *step: told.append(step))
    calibrating = [done for step, done, _ in told if step == "calibrate"]
    assert calibrating == sorted(calibrating)
    assert calibrating[-1] == 2 * len(samples)
    assert told[-1] == ("save", 1, 1)
    shown = capfd.readouterr()
    assert shown.out == shown.err == ""


def test_nothing_is_told_to_anybody(graph: Path, tmp_path: Path) -> None:
    """NNCF reports its use through openvino_telemetry; see `engines.openvino_import`."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from engines.build.calibration import packed_samples\n"
        "from engines.build.quantize_openvino import quantize_openvino\n"
        "seen = []\n"
        "watched = ('socket.connect', 'socket.getaddrinfo', 'os.fork')\n"
        "sys.addaudithook(lambda name, _: seen.append(name) if name in watched else None)\n"
        "samples = packed_samples([np.arange(1, 9)] * 4, 16, 2)\n"
        "quantize_openvino(Path(sys.argv[1]), Path(sys.argv[2]), samples, lambda *step: None)\n"
        "sys.exit(f'{seen}, {[m for m in sys.modules if m.startswith(\"openvino_telemetry.\")]}')\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(graph), str(tmp_path / "model.xml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == "[], []\n"
    assert done.stdout == ""


def test_without_samples_it_is_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no samples"):
        quantize_openvino(graph, tmp_path / "model.xml", [], lambda *step: None)


def test_a_corrupt_graph_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    samples = packed_samples([np.arange(1, 9)], 16, 2)
    with pytest.raises(BuildError, match=r"model\.onnx") as raised:
        quantize_openvino(tmp_path / "model.onnx", tmp_path / "model.xml", samples, lambda *step: None)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "model.xml").exists()
