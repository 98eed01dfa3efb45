"""Plans built for real, by TensorRT for RTX, which needs no GPU for it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.build.errors import BuildError
from engines.build.packed_encoder import write_packed_encoder
from engines.build.tensorrt_plan import write_plan
from engines.build.tensorrt_plan_progress import PROGRESS_STEPS, Progress
from engines.errors import EngineError
from engines.model_config import Packing, Precision
from engines.tensorrt_api import load_tensorrt
from engines.tensorrt_notes import read_notes
from tests.engines.gpu import PACKING, why_not
from tests.engines.test_tensorrt_casts import quantized
from tests.engines.tiny_encoder import VOCABULARY, WINDOW, write_encoder

pytest.importorskip("tensorrt_rtx_bindings", reason="needs batchyard[tensorrt-rtx]")
if load_tensorrt().tunes and why_not():
    pytest.skip(f"tensorrt builds on a GPU only: {why_not()}", allow_module_level=True)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    write_packed_encoder(write_encoder(folder / "tiny"), folder / "model.onnx")
    return folder / "model.onnx"


def silent(step: str, done: int, total: int) -> None:
    """Shows nothing."""


def failure(onnx_file: Path, precision: Precision = "fp32", packing: Packing = PACKING) -> str:
    """The one line of a build that fails, and leaves nothing."""
    target = onnx_file.with_name("model.plan")
    with pytest.raises(EngineError) as raised:
        write_plan(onnx_file, target, packing, precision, silent)
    assert "\n" not in str(raised.value)
    assert list(target.parent.glob("*model.plan*")) == []
    return str(raised.value)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_plan_and_its_notes(precision: Precision, encoder: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    write_plan(encoder, tmp_path / "model.plan", PACKING, precision, lambda *one: told.append(one))
    assert (tmp_path / "model.plan").stat().st_size > 100_000
    notes = read_notes(tmp_path / "model.plan")
    assert notes.sdk == load_tensorrt().package
    assert (notes.version, notes.host_code) == (load_tensorrt().version, False)
    assert notes.table_sizes == {"input_ids": len(VOCABULARY), "position_ids": WINDOW}
    steps = [done for step, done, _ in told if step == "build the plan"]
    assert steps == sorted(set(steps))
    assert len(steps) > 20
    assert told[-1] == ("build the plan", PROGRESS_STEPS, PROGRESS_STEPS)
    assert (f"cast to {precision}" in {step for step, _, _ in told}) is (precision != "fp32")


def test_the_widths_are_in_the_plan(encoder: Path, tmp_path: Path) -> None:
    """Each width brings kernels of its own, so that more of them make a larger plan."""
    sizes = []
    for widths in ((16,), (16, 32, 48)):
        write_plan(encoder, tmp_path / "model.plan", Packing(widths, 96), "fp16", silent)
        sizes.append((tmp_path / "model.plan").stat().st_size)
    assert sizes[1] > 1.5 * sizes[0]


def test_an_interrupted_build_leaves_nothing(encoder: Path, tmp_path: Path) -> None:
    def interrupt(step: str, done: int, total: int) -> None:
        if done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_plan(encoder, tmp_path / "model.plan", PACKING, "fp32", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_quantised_graph(tmp_path: Path) -> None:
    source = quantized(tmp_path / "a.onnx", 20, 0.5)
    write_plan(wide(source), tmp_path / "model.plan", Packing((3,), 12), "int8", silent)
    assert (tmp_path / "model.plan").stat().st_size > 10_000


def wide(path: Path) -> Path:
    """The graph with two open sizes, as packed rows have."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[1].dim_param = "width"
    onnx.save(model, path)
    return path


def test_int8_wants_a_quantised_graph(encoder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model.onnx"
    copy.write_bytes(encoder.read_bytes())
    assert failure(copy, "int8").startswith("model.onnx: int8 wants a graph with QuantizeLinear, found none")


def test_asymmetric_int8_is_refused_by_the_parser(tmp_path: Path) -> None:
    model = onnx.load(wide(quantized(tmp_path / "a.onnx", 20, 0.5, np.uint8)))
    zero = next(one for one in model.graph.initializer if one.name == "zero")
    zero.raw_data = b"\x07"
    onnx.save(model, tmp_path / "a.onnx")
    message = failure(tmp_path / "a.onnx", "int8", Packing((3,), 12))
    assert "cannot read the graph at QuantizeLinear: " in message
    assert "zero point" in message.lower()


def test_an_operation_that_is_not_known(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "width"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Nope", ["x"], ["y"], domain="com.x")], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.x", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "a.onnx")
    assert "cannot read the graph at Nope: " in failure(tmp_path / "a.onnx")


def test_a_graph_that_is_not_packed(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "a.onnx")
    assert failure(tmp_path / "a.onnx") == "input 'x' has shape [-1, 3, 4]; a packed graph takes [rows, width] only"


@pytest.mark.parametrize("content", [b"", b"hello world", b"\x08\x01\x12\x01a"])
def test_a_file_that_is_no_graph(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    assert failure(tmp_path / "a.onnx")


def test_a_graph_that_is_cut_short(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(encoder.read_bytes()[:5000])
    assert failure(tmp_path / "a.onnx") == "a.onnx: is not an ONNX file, or is cut short; export it again"


def test_weights_outside_the_folder(encoder: Path, tmp_path: Path) -> None:
    model = onnx.load(encoder)
    onnx.save_model(model, tmp_path / "a.onnx", save_as_external_data=True, location="w", size_threshold=0)
    model = onnx.load(tmp_path / "a.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../w"
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert "external_data" in failure(tmp_path / "a.onnx")


@pytest.mark.skipif(load_tensorrt().tunes, reason="TensorRT builds for later versions too")
def test_rtx_builds_for_its_own_version_only(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="builds for its own version only; build once for each version"):
        write_plan(encoder, tmp_path / "model.plan", PACKING, "fp32", silent, portability="version")


@pytest.mark.skipif(load_tensorrt().tunes, reason="TensorRT's timing cache saves it most of its work")
def test_rtx_is_given_no_timing_cache(encoder: Path, tmp_path: Path) -> None:
    write_plan(encoder, tmp_path / "model.plan", PACKING, "fp32", silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.plan", "model.plan.json"]
    assert json.loads((tmp_path / "model.plan.json").read_text())["sdk"] == "tensorrt_rtx_bindings"


def progress(show: Callable[[int], None]) -> Progress:
    """One phase of four steps, the third with a phase of two in it."""
    made = Progress(show)
    made.start("whole", None, 4)
    for number in (0, 1):
        made.step("whole", number)
    made.start("part", "whole", 2)
    made.step("part", 0)
    made.step("part", 1)
    made.finish("part")
    made.step("whole", 2)
    made.step("unknown", 7)
    made.step("whole", 3)
    made.finish("whole")
    return made


def test_phases_within_phases_are_one_scale() -> None:
    seen: list[int] = []
    progress(seen.append).raise_failure()
    assert seen == [250, 500, 625, 750, 1000]


def test_what_is_raised_while_showing_ends_the_build() -> None:
    def fail(done: int) -> None:
        raise ValueError(str(done))

    made = progress(fail)
    assert made.step("whole", 0) is False
    with pytest.raises(ValueError, match="250"):
        made.raise_failure()
