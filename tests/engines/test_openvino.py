"""What OpenVINO is opened with, and what is refused. Answers are tested in tests/engines/conformance."""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from engines import open_engine
from engines.batch import Batch
from engines.build.packed_encoder import write_packed_encoder
from engines.errors import InvalidInputError, ModelLoadError
from engines.openvino_import import import_openvino
from engines.openvino_model import choose_device, compile_settings, static_shapes
from engines.warmup import warmup_batches
from tests.engines.conformance.reference import HIDDEN, write_encoder
from tests.engines.small_onnx import DOUBLED, ROWS, double, look_up, options, same

if find_spec("openvino") is None:
    pytest.skip("the package openvino is not installed", allow_module_level=True)

BACKEND = "openvino"
IDS = ROWS.replace("FP32", "INT64")
PACKED = (
    "max_batch_size: 8\n"
    + "".join(
        f'input {{ name: "{name}" data_type: TYPE_INT64 dims: [ -1 ] }}\n'
        for name in ("input_ids", "position_ids", "segment_ids")
    )
    + f'output {{ name: "embedding" data_type: TYPE_FP32 dims: [ -1, {HIDDEN} ] }}\n'
    + 'parameters { key: "batchyard.packing.widths" value { string_value: "16,64,128" } }\n'
    + 'parameters { key: "batchyard.packing.max_tokens" value { string_value: "128" } }\n'
)


def batch(*rows: list[float]) -> Batch:
    return Batch({"x": np.array(rows, np.float32)}, len(rows))


def test_importing_it_tells_nobody() -> None:
    """OpenVINO's telemetry forks a process that calls a web service; see `engines.openvino_import`."""
    code = (
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda name, _: seen.append(name) if name in ('os.fork', 'socket.connect') else None)\n"
        "from engines.openvino_import import import_openvino\n"
        "import_openvino().Core()\n"
        "sys.exit(f'{seen}, {[m for m in sys.modules if m.startswith(\"openvino_telemetry.\")]}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "[], []\n"


@pytest.mark.parametrize(
    ("declared", "gpu", "device"),
    [
        ("", "", "CPU"),
        ("cpu", "", "CPU"),
        ("", "1", "GPU.1"),
        ("NPU", "1", "NPU"),
        ("AUTO", "", "AUTO"),
        ("AUTO:-CPU,GPU.0", "", "AUTO:-CPU,GPU.0"),
        ("HETERO:GPU,CPU", "", "HETERO:GPU,CPU"),
    ],
)
def test_the_device(declared: str, gpu: str, device: str, tmp_path: Path) -> None:
    config = replace(options(tmp_path, BACKEND).config, device=declared)
    assert choose_device(config, gpu, ["CPU", "GPU.0", "GPU.1", "NPU"]) == device


@pytest.mark.parametrize(
    ("declared", "named"), [("GPU", "'GPU'"), ("HETERO:GPU,CPU", "'GPU'"), ("AUTO:GPU", "'GPU'"), ("TPU", "'TPU'")]
)
def test_a_device_that_is_not_there_is_named(declared: str, named: str, tmp_path: Path) -> None:
    config = replace(options(tmp_path, BACKEND).config, device=declared)
    with pytest.raises(ModelLoadError, match=f"OpenVINO finds no device {named}, only CPU, NPU; install its driver"):
        choose_device(config, "", ["CPU", "NPU"])


def test_cpu_settings() -> None:
    settings = compile_settings("bf16", "CPU", 3)
    assert settings["INFERENCE_PRECISION_HINT"] == "bf16"
    assert settings["INFERENCE_NUM_THREADS"] == 3
    assert settings["ENABLE_CPU_PINNING"] is False


def test_other_devices_are_not_given_cpu_settings() -> None:
    assert compile_settings("int8", "GPU", 3) == {"PERFORMANCE_HINT": "LATENCY"}


def test_outputs_belong_to_the_caller(tmp_path: Path) -> None:
    double(tmp_path / "1" / "model.onnx", "n", 3)
    engine = open_engine(options(tmp_path, BACKEND))
    first = engine.run(batch([1, 2, 3]))["y"]
    engine.run(batch([7, 8, 9]))
    assert first.tolist() == [[2, 4, 6]]
    engine.close()


def test_text_is_refused(tmp_path: Path) -> None:
    same(tmp_path / "1" / "model.onnx", TensorProto.STRING)
    with pytest.raises(ModelLoadError, match=r"'x' is TYPE_STRING, .*; use backend: .onnxruntime."):
        open_engine(options(tmp_path, BACKEND, (ROWS + DOUBLED).replace("FP32", "STRING")))


def test_numbers_of_no_rows(tmp_path: Path) -> None:
    double(tmp_path / "1" / "model.onnx", "n", 3)
    engine = open_engine(options(tmp_path, BACKEND))
    assert engine.run(Batch({"x": np.empty((0, 3), np.float32)}, 0))["y"].shape == (0, 3)
    engine.close()


def test_an_ir_model_comes_before_onnx(tmp_path: Path) -> None:
    double(tmp_path / "onnx.onnx", "n", 3)
    openvino = import_openvino()
    opened = options(tmp_path, BACKEND)
    openvino.save_model(openvino.Core().read_model(tmp_path / "onnx.onnx"), opened.folder / "model.xml")
    (opened.folder / "model.onnx").write_bytes(b"not a model")
    engine = open_engine(opened)
    assert engine.run(batch([1, 2, 3]))["y"].tolist() == [[2, 4, 6]]
    engine.close()


def test_an_ir_model_without_its_weights_is_refused(tmp_path: Path) -> None:
    opened = options(tmp_path, BACKEND)
    (opened.folder / "model.xml").write_text("<net/>")
    with pytest.raises(ModelLoadError, match=r"'model\.bin' is not in '1'"):
        open_engine(opened)


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    opened = options(tmp_path, BACKEND)
    (opened.folder / "model.xml").write_text("<net/>")
    (opened.folder / "model.bin").write_bytes(b"")
    with pytest.raises(ModelLoadError, match="OpenVINO cannot read") as refused:
        open_engine(opened)
    assert "\n" not in str(refused.value)


def test_a_configuration_that_is_not_the_files(tmp_path: Path) -> None:
    double(tmp_path / "1" / "model.onnx", "n", 3)
    with pytest.raises(ModelLoadError, match=r"output 'y' is FP32 \[-1, 4\], .* FP32 \[-1, 3\] in the file"):
        open_engine(options(tmp_path, BACKEND, ROWS + DOUBLED.replace("[ 3 ]", "[ 4 ]")))


@pytest.mark.parametrize("wrong", [5, -6])
def test_what_is_not_in_a_table_is_refused(wrong: int, tmp_path: Path) -> None:
    look_up(tmp_path / "1" / "model.onnx", axis=0)
    engine = open_engine(options(tmp_path, BACKEND, IDS + DOUBLED.replace("[ 3 ]", "[ 3, 7 ]")))
    with pytest.raises(InvalidInputError, match=f"input 'x' holds {wrong}, the model knows values from 0 to 4"):
        engine.run(Batch({"x": np.array([[0, wrong, 1]])}, 1))
    assert engine.run(Batch({"x": np.array([[0, 4, 1]])}, 1))["y"][0, :, 0].tolist() == [0, 28, 7]
    engine.close()


def test_packed_rows_of_a_fixed_shape_answer_as_those_of_any(tmp_path: Path) -> None:
    opened = options(tmp_path, BACKEND, PACKED)
    write_encoder(opened.folder)
    write_packed_encoder(opened.folder, opened.folder / "model.onnx")
    assert static_shapes(opened.config, opened.folder / "model.onnx") == [(1, 16), (1, 64)]
    engine = open_engine(opened)
    for one in warmup_batches(opened.config):
        twice = Batch({name: np.concatenate([array, array]) for name, array in one.inputs.items()}, 2 * one.size)
        alone, together = engine.run(one)["embedding"], engine.run(twice)["embedding"]
        np.testing.assert_allclose(together[: one.size], alone, atol=1e-5)
        assert alone[0, 0].any()
    engine.close()


def test_packed_rows_must_have_one_shape(tmp_path: Path) -> None:
    opened = options(tmp_path, BACKEND, PACKED)
    write_encoder(opened.folder)
    write_packed_encoder(opened.folder, opened.folder / "model.onnx")
    engine = open_engine(opened)
    first = next(warmup_batches(opened.config))
    with pytest.raises(InvalidInputError, match=r"one shape, found .* position_ids \[1, 4\]"):
        engine.run(Batch({**first.inputs, "position_ids": first.inputs["position_ids"][:, :4]}, 1))
    assert engine.run(first)["embedding"].shape == (1, 4, HIDDEN)
    engine.close()
