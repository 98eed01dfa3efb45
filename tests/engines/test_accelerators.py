"""Devices beside the CPU: which is chosen, what is refused where it is not there, and what a fallback does."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from engines import open_engine
from engines.batch import Batch
from engines.errors import InvalidInputError, MissingDeviceError, ModelLoadError
from engines.fallback import with_fallback
from engines.model_config import Accelerator, InstanceGroup, ModelConfig, Packing
from engines.onnx_providers import CANN, CPU, CUDA, QNN, TENSORRT, TENSORRT_RTX, VITISAI, choose_providers, memory_of
from engines.onnxruntime_binding import BoundSession
from engines.openvino_import import import_openvino
from engines.openvino_model import choose_device, compile_settings, needs_fixed_shapes, packed_shapes, table_sizes
from tests.engines.config_text import model_folder, parameters, read, refusal
from tests.engines.gpu import NEEDS_GPU, parameter
from tests.engines.small_onnx import DOUBLED, ROWS, double, options, save
from tests.engines.test_config_parameters import BASE

ALL = [TENSORRT_RTX, TENSORRT, CUDA, CANN, QNN, VITISAI, CPU]
FALLBACK = parameter("fallback", "CPU")


def config(folder: Path, *accelerators: Accelerator, device: str = "", backend: str = "onnxruntime") -> ModelConfig:
    return replace(options(folder, backend).config, accelerators=accelerators, device=device)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "batchyard.engines"]


class TestFallback:
    def test_its_form(self, tmp_path: Path) -> None:
        folder = model_folder(tmp_path)
        assert read(BASE, folder).fallback == ""
        assert read(BASE + parameters(fallback="CPU"), folder).fallback == "CPU"

    @pytest.mark.parametrize("value", ["cpu", "GPU", "true", ""])
    def test_what_it_cannot_be(self, value: str, tmp_path: Path) -> None:
        message = refusal(BASE + parameters(fallback=value), model_folder(tmp_path))
        assert f"batchyard.fallback\"]: '{value}'; use CPU" in message

    def test_without_one_the_missing_device_is_refused(self, tmp_path: Path) -> None:
        def wanted() -> str:
            raise MissingDeviceError("no NPU; set batchyard.device")

        with pytest.raises(MissingDeviceError, match=r"no NPU; set .*device, or .*fallback to CPU"):
            with_fallback(config(tmp_path), wanted, lambda: "CPU")

    def test_with_one_it_is_told_and_taken(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        def wanted() -> str:
            raise MissingDeviceError("no NPU")

        assert with_fallback(replace(config(tmp_path), fallback="CPU"), wanted, lambda: "CPU") == "CPU"
        assert warnings(caplog) == ["no NPU; it runs on the CPU instead, its batchyard.fallback"]
        assert caplog.records[0].levelno == logging.WARNING

    def test_another_fault_is_no_reason_for_it(self, tmp_path: Path) -> None:
        def wanted() -> str:
            raise ModelLoadError("a broken file")

        with pytest.raises(ModelLoadError, match="a broken file"):
            with_fallback(replace(config(tmp_path), fallback="CPU"), wanted, lambda: "CPU")


class TestProviders:
    @pytest.mark.parametrize(
        ("device", "first"),
        [
            ("cann", (CANN, {})),
            ("cann:2", (CANN, {"device_id": "2"})),
            ("qnn", (QNN, {})),
            ("vitisai", (VITISAI, {})),
            ("cuda:1", (CUDA, {"device_id": "1"})),
            ("CPU", (CPU, {})),
        ],
    )
    def test_by_device(self, device: str, first: tuple[str, dict[str, str]], tmp_path: Path) -> None:
        chosen = choose_providers(config(tmp_path, device=device), "", ALL)
        assert chosen == [first, (CPU, {})][: len(chosen)]
        assert chosen[-1] == (CPU, {})

    @pytest.mark.parametrize(
        ("alias", "provider", "given"),
        [
            ("cann", CANN, {"npu_mem_limit": "1073741824", "enable_cann_graph": "1"}),
            ("qnn", QNN, {"backend_type": "htp", "htp_performance_mode": "burst"}),
            ("vitisai", VITISAI, {"config_file": "vaip_config.json"}),
            ("tensorrt_rtx", TENSORRT_RTX, {"enable_cuda_graph": "1"}),
        ],
    )
    def test_by_accelerator_with_its_options(
        self, alias: str, provider: str, given: dict[str, str], tmp_path: Path
    ) -> None:
        chosen = choose_providers(config(tmp_path, Accelerator(alias, given)), "", ALL)
        assert chosen == [(provider, given), (CPU, {})]

    def test_the_device_number_is_for_that_kind_of_device(self, tmp_path: Path) -> None:
        accelerators = (Accelerator("tensorrt", {}), Accelerator("cann", {}))
        chosen = choose_providers(config(tmp_path, *accelerators), "3", ALL)
        assert chosen == [(TENSORRT, {"device_id": "3"}), (CANN, {}), (CUDA, {"device_id": "3"}), (CPU, {})]

    @pytest.mark.parametrize("device", ["cann:x", "qnn:1", "vitisai:0", "npu", "cuda:", "gpu"])
    def test_a_device_that_is_unknown(self, device: str, tmp_path: Path) -> None:
        with pytest.raises(ModelLoadError, match="is unknown to onnxruntime; use cpu, cuda or cuda:N, cann or cann:N"):
            choose_providers(config(tmp_path, device=device), "", ALL)

    @pytest.mark.parametrize(
        ("device", "package"),
        [
            ("cuda", "onnxruntime-gpu"),
            ("cann", "onnxruntime-cann"),
            ("qnn", "onnxruntime-qnn"),
            ("vitisai", "the onnxruntime of AMD's Ryzen AI software"),
        ],
    )
    def test_a_device_that_is_missing(self, device: str, package: str, tmp_path: Path) -> None:
        with pytest.raises(
            MissingDeviceError, match=f"is not in this onnxruntime, which has {CPU}; install {package}, or set"
        ):
            choose_providers(config(tmp_path, device=device), "", [CPU])

    @pytest.mark.parametrize(
        ("providers", "memory"),
        [
            ([(CPU, {})], None),
            ([(CUDA, {}), (CPU, {})], ("cuda", 0)),
            ([(TENSORRT, {"device_id": "2"}), (CUDA, {}), (CPU, {})], ("cuda", 2)),
            ([(TENSORRT_RTX, {}), (CPU, {})], ("cuda", 0)),
            ([(CANN, {"device_id": "1"}), (CPU, {})], ("cann", 1)),
            ([(QNN, {}), (CPU, {})], None),
        ],
    )
    def test_whose_memory_is_bound(
        self, providers: Sequence[tuple[str, dict[str, str]]], memory: tuple[str, int] | None
    ) -> None:
        assert memory_of(providers) == memory


class TestOnnxRuntime:
    @pytest.fixture(autouse=True)
    def _needed(self) -> None:
        pytest.importorskip("onnxruntime")

    @pytest.mark.parametrize("device", ["cann", "qnn", "vitisai"])
    def test_a_missing_device_is_refused(self, device: str, tmp_path: Path) -> None:
        double(tmp_path / "1" / "model.onnx", "n", 3)
        with pytest.raises(MissingDeviceError, match=r"is not in this onnxruntime, .* or batchyard.fallback to CPU"):
            open_engine(options(tmp_path, "onnxruntime", ROWS + DOUBLED + parameter("device", device)))

    def test_with_a_fallback_it_answers_on_the_cpu(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        double(tmp_path / "1" / "model.onnx", "n", 3)
        text = ROWS + DOUBLED + parameter("device", "cann") + FALLBACK
        engine = open_engine(options(tmp_path, "onnxruntime", text))
        assert engine.run(Batch({"x": np.array([[1, 2, 3]], np.float32)}, 1))["y"].tolist() == [[2, 4, 6]]
        engine.close()
        (told,) = warnings(caplog)
        assert "CANNExecutionProvider is not in this onnxruntime" in told
        assert told.endswith("; it runs on the CPU instead, its batchyard.fallback")

    def test_a_gpu_of_the_instance_group_may_fall_back_too(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        double(tmp_path / "1" / "model.onnx", "n", 3)
        text = ROWS + DOUBLED + "instance_group { kind: KIND_GPU gpus: 99 }\n" + FALLBACK
        engine = open_engine(options(tmp_path, "onnxruntime", text, device="99"))
        assert engine.run(Batch({"x": np.array([[1, 2, 3]], np.float32)}, 1))["y"].tolist() == [[2, 4, 6]]
        engine.close()
        assert "CUDAExecutionProvider" in warnings(caplog)[0]


class TestPlugins:
    def opened(self, folder: Path, package: str, extra: str = "", more: str = "") -> None:
        double(folder / "1" / "model.onnx", "n", 3)
        entry = f'gpu_execution_accelerator {{ name: "openvino" parameters {{ key: "plugin" value: "{package}" }} }}'
        text = f"optimization {{ execution_accelerators {{ {entry} {more} }} }}\n"
        engine = open_engine(options(folder, "onnxruntime", ROWS + DOUBLED + text + extra))
        assert engine.run(Batch({"x": np.array([[1, 2, 3]], np.float32)}, 1))["y"].tolist() == [[2, 4, 6]]
        engine.close()

    @pytest.mark.parametrize("package", ["os", "onnxruntime-qnn", "onnxruntime_qnn.evil", ""])
    def test_only_packages_of_providers_are_imported(self, package: str, tmp_path: Path) -> None:
        with pytest.raises(ModelLoadError, match=r"is no package of an ONNX Runtime provider; give its import name"):
            self.opened(tmp_path, package)

    def test_a_plugin_that_is_not_installed(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(
            MissingDeviceError, match=r"onnxruntime_none is not installed; pip install onnxruntime-none"
        ):
            self.opened(tmp_path, "onnxruntime_none")
        self.opened(tmp_path, "onnxruntime_none", FALLBACK)
        assert "onnxruntime_none is not installed" in warnings(caplog)[0]

    def test_a_plugin_beside_another_provider(self, tmp_path: Path) -> None:
        entry = 'cpu_execution_accelerator { name: "AzureExecutionProvider" }'
        with pytest.raises(ModelLoadError, match="AzureExecutionProvider cannot run beside a plugin; remove one"):
            self.opened(tmp_path, "onnxruntime_none", more=entry)

    def test_a_real_plugin_answers_or_says_that_it_finds_no_device(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        pytest.importorskip("onnxruntime_ep_openvino")
        for _ in range(2):  # registering it again is no fault
            self.opened(tmp_path, "onnxruntime_ep_openvino", FALLBACK)
        assert all("finds no device for OpenVINOExecutionProvider" in told for told in warnings(caplog))


class TestBinding:
    """The binding itself, over the CPU's memory: the calls are those that a GPU gets."""

    @pytest.fixture
    def bound(self, tmp_path: Path) -> BoundSession:
        onnxruntime = pytest.importorskip("onnxruntime")
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
        places = helper.make_tensor_value_info("places", TensorProto.INT64, [2, "found"])
        nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("NonZero", ["x"], ["places"])]
        save(tmp_path / "model.onnx", helper.make_graph(nodes, "g", values[:1], [values[1], places]))
        session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=[CPU])
        return BoundSession(session, "cpu", 0, ["places", "y"])

    def test_answers_come_in_the_order_asked_for(self, bound: BoundSession) -> None:
        places, doubled = bound.run({"x": np.array([[0, 1, 2]], np.float32)})
        assert doubled.tolist() == [[0, 2, 4]]
        assert places.tolist() == [[0, 0], [1, 2]]

    def test_a_shape_seen_before_takes_new_values(self, bound: BoundSession) -> None:
        first = bound.run({"x": np.array([[0, 1, 2]], np.float32)})
        bound.run({"x": np.ones((2, 3), np.float32)})
        second = bound.run({"x": np.array([[7, 8, 9]], np.float32)})
        assert first[1].tolist() == [[0, 2, 4]]
        assert second[1].tolist() == [[14, 16, 18]]

    def test_outputs_whose_shape_the_values_decide(self, bound: BoundSession) -> None:
        sizes = [bound.run({"x": np.array([row], np.float32)})[0].shape for row in ([0, 0, 1], [1, 1, 1], [0, 0, 0])]
        assert sizes == [(2, 1), (2, 3), (2, 0)]

    def test_inputs_that_are_views(self, bound: BoundSession) -> None:
        grid = np.arange(18, dtype=np.float32).reshape(3, 6)
        for _ in range(2):
            assert bound.run({"x": grid[:, ::2]})[1].tolist() == (grid[:, ::2] * 2).tolist()

    def test_many_shapes(self, bound: BoundSession) -> None:
        for rows in (*range(1, 100), *range(1, 100)):
            assert bound.run({"x": np.full((rows, 3), rows, np.float32)})[1].sum() == 6 * rows * rows


@pytest.mark.usefixtures("openvino")
class TestOpenVino:
    @pytest.fixture
    def openvino(self) -> None:
        pytest.importorskip("openvino")

    @pytest.mark.parametrize(
        ("declared", "available", "device", "told"),
        [
            ("NPU", ["CPU", "NPU"], "NPU", 0),
            ("AUTO:NPU,GPU,CPU", ["CPU", "GPU", "NPU"], "AUTO:NPU,GPU,CPU", 0),
            ("AUTO:NPU,GPU,CPU", ["CPU", "GPU.0", "GPU.1"], "AUTO:GPU,CPU", 1),
            ("AUTO:NPU,GPU,CPU", ["CPU"], "CPU", 1),
            ("AUTO:NPU,GPU", ["CPU", "GPU"], "AUTO:GPU", 1),
            ("AUTO:-GPU", ["CPU"], "AUTO", 0),
            ("AUTO:-GPU,CPU", ["CPU", "GPU"], "AUTO:-GPU,CPU", 0),
            ("AUTO", ["CPU"], "AUTO", 0),
        ],
    )
    def test_the_order_of_auto(
        self,
        declared: str,
        available: list[str],
        device: str,
        told: int,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        chosen = choose_device(config(tmp_path, device=declared, backend="openvino"), "", available)
        assert (chosen, len(warnings(caplog))) == (device, told)

    def test_what_the_warning_says(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        choose_device(config(tmp_path, device="AUTO:NPU,GPU,CPU", backend="openvino"), "", ["CPU"])
        (told,) = warnings(caplog)
        assert "finds no NPU and no GPU, only CPU; it runs on CPU, which its batchyard.device" in told

    @pytest.mark.parametrize(("declared", "named"), [("NPU", "NPU"), ("AUTO:NPU,GPU", "NPU"), ("MULTI:NPU,CPU", "NPU")])
    def test_none_is_there(self, declared: str, named: str, tmp_path: Path) -> None:
        with pytest.raises(MissingDeviceError, match=f"OpenVINO finds no device '{named}', only CPU; install its"):
            choose_device(config(tmp_path, device=declared, backend="openvino"), "", ["CPU"])

    def test_auto_waits_for_the_device_it_chose(self) -> None:
        assert compile_settings("fp32", "AUTO:NPU,CPU", 1)["ENABLE_STARTUP_FALLBACK"] is False
        assert "ENABLE_STARTUP_FALLBACK" not in compile_settings("fp32", "NPU", 1)

    @pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "AUTO:NPU,GPU,CPU"])
    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_auto_answers(self, device: str, precision: str, tmp_path: Path) -> None:
        double(tmp_path / "1" / "model.onnx", "n", 3)
        text = ROWS + DOUBLED + parameter("device", device) + parameter("precision", precision)
        engine = open_engine(options(tmp_path, "openvino", text))
        assert engine.run(Batch({"x": np.array([[1, 2, 3]], np.float32)}, 1))["y"].tolist() == [[2, 4, 6]]
        engine.close()

    def test_a_device_that_nobody_has_is_refused_or_falls_back(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        double(tmp_path / "1" / "model.onnx", "n", 3)
        text = ROWS + DOUBLED + parameter("device", "TPU")
        with pytest.raises(
            MissingDeviceError, match=r"OpenVINO finds no device 'TPU', .*, or batchyard.fallback to CPU"
        ):
            open_engine(options(tmp_path, "openvino", text))
        engine = open_engine(options(tmp_path, "openvino", text + FALLBACK))
        assert engine.run(Batch({"x": np.array([[1, 2, 3]], np.float32)}, 1))["y"].tolist() == [[2, 4, 6]]
        engine.close()
        assert "OpenVINO finds no device 'TPU'" in warnings(caplog)[0]

    @pytest.mark.parametrize(("device", "fixed"), [("NPU", True), ("NPU.1", True), ("CPU", False), ("AUTO:NPU", False)])
    def test_who_needs_fixed_shapes(self, device: str, fixed: bool) -> None:
        assert needs_fixed_shapes(device) is fixed

    def test_the_shapes_of_a_packed_model(self, tmp_path: Path) -> None:
        plain = config(tmp_path, backend="openvino")
        assert packed_shapes(plain) == []
        packed = replace(plain, packing=Packing((16, 32), 64))
        assert packed_shapes(packed) == [(1, 16), (2, 16), (3, 16), (4, 16), (1, 32), (2, 32)]

    def test_a_model_of_fixed_shapes_only(self, tmp_path: Path) -> None:
        """What an NPU gets, compiled for the CPU."""
        from engines.openvino import OpenVinoEngine, fixed_requests

        double(tmp_path / "1" / "model.onnx", "n", 3)
        core = import_openvino().Core()
        model = core.read_model(str(tmp_path / "1" / "model.onnx"))
        requests = fixed_requests(core, model, "CPU", {}, [(1, 3), (2, 3)])
        engine = OpenVinoEngine(config(tmp_path, backend="openvino"), requests, table_sizes(model))
        for rows in (1, 2):
            assert engine.run(Batch({"x": np.ones((rows, 3), np.float32)}, rows))["y"].shape == (rows, 3)
        with pytest.raises(
            InvalidInputError, match=r"have shape \[3, 3\], the model is compiled for \[1, 3\], \[2, 3\]"
        ):
            engine.run(Batch({"x": np.ones((3, 3), np.float32)}, 3))
        engine.close()


class TestCuda:
    pytestmark = NEEDS_GPU

    @pytest.mark.parametrize("accelerator", ["", "tensorrt"])
    def test_onnxruntime_answers_on_a_gpu(self, accelerator: str, tmp_path: Path) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        wanted = TENSORRT if accelerator else CUDA
        if wanted not in onnxruntime.get_available_providers():
            pytest.skip(f"{wanted} is not in this onnxruntime")
        double(tmp_path / "1" / "model.onnx", "n", 3)
        opened = options(tmp_path, "onnxruntime", device="0")
        groups = (InstanceGroup("KIND_GPU"),)
        accelerators = (Accelerator(accelerator, {}),) if accelerator else ()
        engine = open_engine(
            replace(opened, config=replace(opened.config, instance_groups=groups, accelerators=accelerators))
        )
        for rows in (1, 3, 1, 4, 3):
            found = engine.run(Batch({"x": np.full((rows, 3), rows, np.float32)}, rows))["y"]
            assert found.tolist() == [[2 * rows] * 3] * rows
        engine.close()
