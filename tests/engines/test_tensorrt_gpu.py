"""The TensorRT engine on a GPU: right answers with and without graphs, neighbours, errors, memory given back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines import open_engine
from engines.base import Engine
from engines.batch import Batch
from engines.build.packed_encoder import write_packed_encoder
from engines.build.tensorrt_plan import write_plan
from engines.errors import EngineError, InvalidInputError, MissingBackendError, ModelLoadError
from engines.model_config import Packing
from engines.tensorrt_api import load_tensorrt
from tests.engines.gpu import NEEDS_GPU, PACKING, plan_options
from tests.engines.small_onnx import options as onnx_options
from tests.engines.tiny_encoder import HIDDEN, VOCABULARY, write_encoder

pytestmark = NEEDS_GPU

NAMES = ("input_ids", "position_ids", "segment_ids")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        load_tensorrt()
    except MissingBackendError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("model")
    (folder / "1").mkdir()
    write_packed_encoder(write_encoder(folder / "tiny"), folder / "1" / "model.onnx")
    write_plan(folder / "1" / "model.onnx", folder / "1" / "model.plan", PACKING, "fp16", lambda *_: None)
    return folder


@pytest.fixture
def engine(model: Path) -> Iterator[Engine]:
    opened = open_engine(plan_options(model, "instance_group { kind: KIND_GPU }\n"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def reference(model: Path) -> Iterator[Engine]:
    text = "max_batch_size: 4\n" + "".join(
        f'input {{ name: "{name}" data_type: TYPE_INT64 dims: [ -1 ] }}\n' for name in NAMES
    )
    text += f'output {{ name: "embedding" data_type: TYPE_FP32 dims: [ -1, {HIDDEN} ] }}\n'
    opened = open_engine(onnx_options(model, "onnxruntime", text))
    yield opened
    opened.close()


def batches() -> list[Batch]:
    """Every shape that is served, with random words."""
    draw = np.random.default_rng(0)
    found = []
    for width in PACKING.widths:
        for rows in PACKING.row_counts(width):
            ids = draw.integers(0, len(VOCABULARY), (rows, width))
            positions = np.tile(np.arange(width) % 8, (rows, 1))
            segments = np.tile(np.arange(width) // 8, (rows, 1))
            found.append(Batch(dict(zip(NAMES, (ids, positions, segments), strict=True)), rows))
    return found


def check(engine: Engine, reference: Engine) -> None:
    for batch in batches():
        found, wanted = engine.run(batch)["embedding"], reference.run(batch)["embedding"]
        assert found.shape == wanted.shape
        assert np.isfinite(found).all()
        used = batch.inputs["segment_ids"].max() + 1
        assert (found[:, :used] * wanted[:, :used]).sum(axis=-1).min() > 0.999


def test_answers_before_and_after_the_graphs_are_captured(engine: Engine, reference: Engine) -> None:
    check(engine, reference)
    engine.warm_up()
    check(engine, reference)
    check(engine, reference)


def test_outputs_belong_to_the_caller(engine: Engine) -> None:
    engine.warm_up()
    first, second = batches()[0], batches()[1]
    kept = engine.run(first)["embedding"]
    copy = kept.copy()
    engine.run(second)
    assert np.array_equal(kept, copy)


def test_an_answer_does_not_depend_on_its_neighbours(engine: Engine) -> None:
    engine.warm_up()
    batch = batches()[-1]
    alone = {name: array.copy() for name, array in batch.inputs.items()}
    alone["input_ids"][:, 8:] = 0
    found, wanted = engine.run(batch)["embedding"], engine.run(Batch(alone, batch.size))["embedding"]
    assert np.abs(found[:, 0] - wanted[:, 0]).max() < 1e-5


def test_a_bad_batch_harms_no_later_one(engine: Engine, reference: Engine) -> None:
    bad = {name: array.copy() for name, array in batches()[0].inputs.items()}
    bad["input_ids"][0, 0] = len(VOCABULARY)
    with pytest.raises(InvalidInputError, match="the model knows values from 0 to"):
        engine.run(Batch(bad, 1))
    with pytest.raises(InvalidInputError, match="the plan takes no input"):
        engine.run(Batch({name: np.zeros((1, 24), np.int64) for name in NAMES}, 1))
    check(engine, reference)


def test_two_instances_side_by_side(model: Path, reference: Engine) -> None:
    opened = [open_engine(plan_options(model)) for _ in range(2)]
    for engine in opened:
        engine.warm_up()
    check(opened[0], reference)
    opened[0].close()
    check(opened[1], reference)
    opened[1].close()


def test_memory_is_given_back(model: Path) -> None:
    from cuda.bindings import runtime

    free = []
    for _ in range(4):
        engine = open_engine(plan_options(model))
        engine.warm_up()
        engine.close()
        engine.close()
        free.append(runtime.cudaMemGetInfo()[1])
    assert free[1] - free[3] < 8 * 2**20


def test_a_closed_engine_says_so(engine: Engine) -> None:
    engine.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.run(batches()[0])


def test_a_file_that_is_no_plan(model: Path, tmp_path: Path) -> None:
    opened = plan_options(tmp_path)
    (opened.folder / "model.plan").write_bytes(b"not a plan")
    with pytest.raises(ModelLoadError, match=r"cannot open model.plan") as refused:
        open_engine(opened)
    assert "\n" not in str(refused.value)


def test_more_rows_than_the_plan_has(model: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"config.pbtxt asks for it: build the model again"):
        open_engine(plan_options(model, packing=Packing((16, 32), 128)))
