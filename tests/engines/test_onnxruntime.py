"""What ONNX Runtime is opened with, and what is refused. Answers are tested in tests/engines/conformance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from engines import open_engine
from engines.batch import Batch
from engines.errors import InvalidInputError, ModelLoadError
from engines.model_config import Accelerator, ModelConfig
from engines.onnx_providers import CPU, CUDA, choose_providers
from engines.onnxruntime import has_vnni
from tests.engines.small_onnx import DOUBLED, ROWS, double, look_up, options, same, save

pytest.importorskip("onnxruntime")

TENSORRT, OPENVINO = "TensorrtExecutionProvider", "OpenVINOExecutionProvider"
ALL = [TENSORRT, CUDA, OPENVINO, CPU]
BACKEND = "onnxruntime"


def accelerated(folder: Path, *accelerators: Accelerator) -> ModelConfig:
    return replace(options(folder, BACKEND).config, accelerators=accelerators)


def test_the_cpu_unless_told_otherwise(tmp_path: Path) -> None:
    assert choose_providers(accelerated(tmp_path), "", ALL) == [(CPU, {})]


def test_accelerators_come_in_their_order_with_their_options(tmp_path: Path) -> None:
    config = accelerated(
        tmp_path,
        Accelerator(
            "tensorrt", {"precision_mode": "FP16", "max_workspace_size_bytes": "64", "trt_dump_subgraphs": "1"}
        ),
        Accelerator("cuda", {"cudnn_conv_use_max_workspace": "0"}),
    )
    tensorrt = {"trt_dump_subgraphs": "1", "trt_fp16_enable": "1", "trt_max_workspace_size": "64", "device_id": "1"}
    cuda = {"cudnn_conv_use_max_workspace": "0", "device_id": "1"}
    assert choose_providers(config, "1", ALL) == [(TENSORRT, tensorrt), (CUDA, cuda), (CPU, {})]


def test_a_provider_by_its_own_name(tmp_path: Path) -> None:
    config = accelerated(tmp_path, Accelerator("XnnpackExecutionProvider", {"a": "b"}))
    assert choose_providers(config, "", ["XnnpackExecutionProvider"])[0] == ("XnnpackExecutionProvider", {"a": "b"})


@pytest.mark.parametrize(("device", "number"), [("2", "2"), ("cuda", "0"), ("cuda:3", "3")])
def test_a_gpu_by_its_number(device: str, number: str, tmp_path: Path) -> None:
    assert choose_providers(accelerated(tmp_path), device, ALL)[0] == (CUDA, {"device_id": number})


@pytest.mark.parametrize(
    ("accelerator", "message"),
    [
        (Accelerator("tensorrt", {}), "TensorrtExecutionProvider is not in this onnxruntime, which has CPUExecution"),
        (Accelerator("openvino", {}), "; install onnxruntime-openvino"),
        (Accelerator("gpu_io", {}), "execution accelerator 'gpu_io' is unknown; use cuda, tensorrt, openvino"),
        (Accelerator("tensorrt", {"precision_mode": "FP8"}), "precision_mode 'FP8' is unknown; use FP32, FP16 or INT8"),
    ],
)
def test_a_provider_that_cannot_be_had_is_named(accelerator: Accelerator, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=message):
        choose_providers(accelerated(tmp_path, accelerator), "", [CPU])


def test_an_unknown_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="device 'NPU' is unknown to onnxruntime; use cpu, cuda or cuda:N"):
        choose_providers(accelerated(tmp_path), "NPU", ALL)


def test_a_model_on_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    double(tmp_path / "1" / "model.onnx", "n", 3)
    with pytest.raises(ModelLoadError, match=r"CUDAExecutionProvider (is not in this onnxruntime|failed to start)"):
        open_engine(options(tmp_path, BACKEND, device="99"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS.replace('"x"', '"z"') + DOUBLED, "input 'z' of config.pbtxt is not in the file; it has 'x'"),
        (ROWS + DOUBLED.replace('"y"', '"z"'), "output 'z' of config.pbtxt is not in the file; it has 'y'"),
        (ROWS.replace("FP32", "INT64") + DOUBLED, r"'x' is INT64 \[-1, 3\], batch .* FP32 \[-1, 3\] in the file"),
        (ROWS + DOUBLED.replace("[ 3 ]", "[ 4 ]"), r"'y' is FP32 \[-1, 4\], .* FP32 \[-1, 3\] in the file"),
        (ROWS.replace("[ 3 ]", "[ -1 ]") + DOUBLED, r"'x' is FP32 \[-1, -1\], .* FP32 \[-1, 3\] in the file"),
        (ROWS.replace("[ 3 ]", "[ 3, 1 ]") + DOUBLED, r"'x' is FP32 \[-1, 3, 1\], .* FP32 \[-1, 3\] in the file"),
    ],
)
def test_a_configuration_that_is_not_the_files(text: str, message: str, tmp_path: Path) -> None:
    double(tmp_path / "1" / "model.onnx", "n", 3)
    with pytest.raises(ModelLoadError, match=message):
        open_engine(options(tmp_path, BACKEND, text))


def test_an_input_of_the_file_that_is_not_declared(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "w", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "add", values[:2], values[2:])
    save(tmp_path / "1" / "model.onnx", graph)
    with pytest.raises(ModelLoadError, match=r"the file's input 'w', FP32 \[-1, 3\], is not in config.pbtxt; add it"):
        open_engine(options(tmp_path, BACKEND))


def test_a_batch_dimension_of_one_size_is_refused(tmp_path: Path) -> None:
    double(tmp_path / "1" / "model.onnx", 2, 3)
    with pytest.raises(ModelLoadError, match=r"FP32 \[2, 3\] in the file"):
        open_engine(options(tmp_path, BACKEND))


def test_a_type_that_is_not_served_is_named(tmp_path: Path) -> None:
    same(tmp_path / "1" / "model.onnx", TensorProto.BFLOAT16)
    with pytest.raises(ModelLoadError, match=r"tensor\(bfloat16\) \[-1, 3\] in the file"):
        open_engine(options(tmp_path, BACKEND))


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(b"\x08\x01\x12\x01a")
    with pytest.raises(ModelLoadError, match="ONNX Runtime cannot open") as refused:
        open_engine(options(tmp_path, BACKEND))
    assert "\n" not in str(refused.value)


def test_a_folder_may_hold_the_model_and_its_weights(tmp_path: Path) -> None:
    double(tmp_path / "1" / "model.onnx" / "model.onnx", "n", 3)
    engine = open_engine(options(tmp_path, BACKEND))
    batch = Batch({"x": np.array([[1, 2, 3]], np.float32)}, 1)
    assert engine.run(batch)["y"].tolist() == [[2, 4, 6]]
    engine.close()


def test_what_the_model_refuses_is_the_callers_fault(tmp_path: Path) -> None:
    look_up(tmp_path / "1" / "model.onnx", axis=0)
    text = ROWS.replace("FP32", "INT64") + DOUBLED.replace("[ 3 ]", "[ 3, 7 ]")
    engine = open_engine(options(tmp_path, BACKEND, text))
    with pytest.raises(InvalidInputError, match="idx=5"):
        engine.run(Batch({"x": np.array([[0, 5, 1]])}, 1))
    assert engine.run(Batch({"x": np.array([[0, 4, 1]])}, 1))["y"][0, :, 0].tolist() == [0, 28, 7]
    engine.close()


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    same(tmp_path / "1" / "model.onnx", TensorProto.STRING)
    engine = open_engine(options(tmp_path, BACKEND, (ROWS + DOUBLED).replace("FP32", "STRING")))
    with pytest.raises(InvalidInputError, match="input 'x' is not UTF-8 at byte 1"):
        engine.run(Batch({"x": np.array([[b"a", b"a\xff", b""]], object)}, 1))
    engine.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512_vnni gfni\n", True),
        ("flags : fpu avx_vnni\n", True),
        ("flags : fpu avx2 avx512f\n", False),
        ("Features : asimd\n", False),
    ],
)
def test_vnni_is_read_from_the_processors_flags(tmp_path: Path, text: str, found: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert has_vnni(tmp_path / "cpuinfo") is found
    assert not has_vnni(tmp_path / "absent")


def test_an_optional_text_may_be_left_out(tmp_path: Path) -> None:
    """The default is in the file."""
    values = [helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in ("x", "y")]
    default = helper.make_tensor("x", TensorProto.STRING, [1], [b"default"])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", values[:1], values[1:], [default])
    save(tmp_path / "1" / "model.onnx", graph)
    text = 'input { name: "x" data_type: TYPE_STRING dims: [ 1 ] optional: true }\n'
    text += 'output { name: "y" data_type: TYPE_STRING dims: [ 1 ] }\n'
    engine = open_engine(options(tmp_path, BACKEND, text))
    assert engine.run(Batch({}, 1))["y"].tolist() == [b"default"]
    assert engine.run(Batch({"x": np.array([b"given"], object)}, 1))["y"].tolist() == [b"given"]
