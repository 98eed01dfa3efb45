"""Chooses ONNX Runtime's execution providers from `optimization.execution_accelerators` and the instance group."""

from collections.abc import Mapping, Sequence

from engines.errors import ModelLoadError
from engines.model_config import Accelerator, ModelConfig

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_TENSORRT, _OPENVINO = "TensorrtExecutionProvider", "OpenVINOExecutionProvider"
_SUFFIX = "ExecutionProvider"
_BY_ACCELERATOR: Mapping[str, str] = {"cuda": CUDA, "tensorrt": _TENSORRT, "openvino": _OPENVINO}
_PACKAGES: Mapping[str, str] = {
    CUDA: "onnxruntime-gpu",
    _TENSORRT: "onnxruntime-gpu",
    _OPENVINO: "onnxruntime-openvino",
}

Provider = tuple[str, dict[str, str]]


def choose_providers(config: ModelConfig, device: str, available: Sequence[str]) -> list[Provider]:
    """The providers with their options, most wanted first, the CPU's last.

    `device`: a GPU's number, "" for the CPU. Raises `ModelLoadError` for one that is unknown or not in `available`.
    """
    gpu = _gpu(config, device)
    providers = [_provider(config, accelerator) for accelerator in config.accelerators]
    names = [name for name, _ in providers]
    if gpu is not None and CUDA not in names:
        providers.append((CUDA, {}))
    for name, options in providers:
        if name not in available:
            package = f"; install {_PACKAGES[name]}" if name in _PACKAGES else ""
            raise ModelLoadError(
                f"model {config.name!r}: {name} is not in this onnxruntime, which has {', '.join(available)}{package}"
            )
        if gpu is not None and name in (CUDA, _TENSORRT):
            options.setdefault("device_id", gpu)
    if CPU not in names:
        providers.append((CPU, {}))
    return providers


def _gpu(config: ModelConfig, device: str) -> str | None:
    """The number of the GPU to run on, None for the CPU."""
    wanted = device or config.device
    kind, _, number = wanted.partition(":")
    if wanted.isdecimal():
        return wanted
    if kind == "cuda" and (number.isdecimal() or not number):
        return number or "0"
    if wanted not in ("", "cpu"):
        raise ModelLoadError(
            f"model {config.name!r}: device {wanted!r} is unknown to onnxruntime; use cpu, cuda or cuda:N, "
            "or name a provider in optimization.execution_accelerators"
        )
    return "0" if not wanted and any(group.kind == "KIND_GPU" for group in config.instance_groups) else None


def _provider(config: ModelConfig, accelerator: Accelerator) -> Provider:
    name = accelerator.name
    full = name if name.endswith(_SUFFIX) else _BY_ACCELERATOR.get(name)
    if full is None:
        raise ModelLoadError(
            f"model {config.name!r}: execution accelerator {name!r} is unknown; use {', '.join(_BY_ACCELERATOR)} "
            f"or the name of an ONNX Runtime provider such as {CUDA}"
        )
    options = dict(accelerator.parameters)
    return full, _tensorrt_options(config, options) if full == _TENSORRT else options


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
