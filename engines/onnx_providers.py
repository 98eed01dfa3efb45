"""Chooses ONNX Runtime's execution providers: by `optimization.execution_accelerators`, device and instance group."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from engines.errors import MissingDeviceError, ModelLoadError
from engines.gpu_number import gpu_number
from engines.model_config import Accelerator, ModelConfig

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
CANN, QNN, VITISAI = "CANNExecutionProvider", "QNNExecutionProvider", "VitisAIExecutionProvider"
TENSORRT, TENSORRT_RTX = "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"

PLUGIN = "plugin"
"""The parameter of an accelerator that names the package (import name) which brings its provider."""

_SUFFIX = "ExecutionProvider"
_BY_ACCELERATOR: Mapping[str, str] = MappingProxyType(
    {
        "cuda": CUDA,
        "tensorrt": TENSORRT,
        "openvino": OPENVINO,
        "tensorrt_rtx": TENSORRT_RTX,
        "cann": CANN,
        "qnn": QNN,
        "vitisai": VITISAI,
    }
)
_PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        CUDA: "onnxruntime-gpu",
        TENSORRT: "onnxruntime-gpu",
        TENSORRT_RTX: "onnxruntime-ep-nv-tensorrt-rtx",
        OPENVINO: "onnxruntime-openvino",
        CANN: "onnxruntime-cann",
        QNN: "onnxruntime-qnn",
        VITISAI: "the onnxruntime of AMD's Ryzen AI software",
    }
)
_BY_DEVICE: Mapping[str, str] = MappingProxyType({"cann": CANN, "qnn": QNN, "vitisai": VITISAI})
_MEMORIES: Mapping[str, str] = MappingProxyType({CUDA: "cuda", TENSORRT: "cuda", TENSORRT_RTX: "cuda", CANN: "cann"})
"""The memory that a provider computes in, for those that take the number of a device."""

Provider = tuple[str, dict[str, str]]


def choose_providers(config: ModelConfig, device: str, available: Sequence[str]) -> list[Provider]:
    """The providers with their options, most wanted first, the CPU's last.

    `device`: a GPU's number, "" for that of `config`. Raises `ModelLoadError` for one that is unknown,
    `MissingDeviceError` for one that is not in `available`.
    """
    wanted, number = _wanted(config, device)
    providers = [_provider(config, accelerator) for accelerator in config.accelerators]
    names = [name for name, _ in providers]
    if wanted not in (CPU, *names):
        providers.append((wanted, {}))
    for name, options in providers:
        if name not in available and PLUGIN not in options:
            package = f"; install {_PACKAGES[name]}" if name in _PACKAGES else "; install an onnxruntime that has it"
            raise MissingDeviceError(
                f"model {config.name!r}: {name} is not in this onnxruntime, which has {', '.join(available)}{package},"
                " or set batchyard.device"
            )
        if number is not None and _MEMORIES.get(name) == _MEMORIES[wanted]:
            options.setdefault("device_id", number)
    if CPU not in names:
        providers.append((CPU, {}))
    return providers


def memory_of(providers: Sequence[Provider]) -> tuple[str, int] | None:
    """Name and number of the memory that the first provider computes in, None where that is the host's."""
    name, options = providers[0]
    return (
        (_MEMORIES[name], int(options.get("device_id", "0"))) if name in _MEMORIES and PLUGIN not in options else None
    )


def _wanted(config: ModelConfig, device: str) -> tuple[str, str | None]:
    """The provider of the device to run on, and the device's number where one is given."""
    wanted = device or config.device
    if wanted in ("", "cpu", "CPU"):
        on_gpu = not wanted and any(group.kind == "KIND_GPU" for group in config.instance_groups)
        return (CUDA, "0") if on_gpu else (CPU, None)
    gpu = gpu_number(wanted)
    if gpu is not None:
        return CUDA, str(gpu)
    kind, _, number = wanted.partition(":")
    if kind not in _BY_DEVICE or (number and not (number.isdecimal() and _BY_DEVICE[kind] in _MEMORIES)):
        raise ModelLoadError(
            f"model {config.name!r}: device {wanted!r} is unknown to onnxruntime; use cpu, cuda or cuda:N, cann or "
            "cann:N, qnn, vitisai, or name a provider in optimization.execution_accelerators"
        )
    return _BY_DEVICE[kind], number or None


def _provider(config: ModelConfig, accelerator: Accelerator) -> Provider:
    name = accelerator.name
    full = name if name.endswith(_SUFFIX) else _BY_ACCELERATOR.get(name)
    if full is None:
        raise ModelLoadError(
            f"model {config.name!r}: execution accelerator {name!r} is unknown; use {', '.join(_BY_ACCELERATOR)} "
            f"or the name of an ONNX Runtime provider such as {CUDA}"
        )
    options = dict(accelerator.parameters)
    return full, _tensorrt_options(config, options) if full == TENSORRT else options


def _tensorrt_options(config: ModelConfig, options: dict[str, str]) -> dict[str, str]:
    """Triton's names for two of the options, in ONNX Runtime's words; the others stay as they are."""
    mode = options.pop("precision_mode", "FP32")
    flags = {"FP32": {}, "FP16": {"trt_fp16_enable": "1"}, "INT8": {"trt_int8_enable": "1"}}.get(mode)
    if flags is None:
        raise ModelLoadError(
            f"model {config.name!r}: tensorrt precision_mode {mode!r} is unknown; use FP32, FP16 or INT8"
        )
    workspace = options.pop("max_workspace_size_bytes", None)
    return {**options, **flags, **({} if workspace is None else {"trt_max_workspace_size": workspace})}
