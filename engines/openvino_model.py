"""What the OpenVINO engine needs to know before it compiles: device, settings, shapes, and the model's tensors."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import MissingDeviceError
from engines.model_config import ModelConfig, Precision
from engines.model_tensors import ModelTensor
from engines.tensor import DATA_TYPES

if TYPE_CHECKING:
    import openvino

Shape = tuple[int, ...]

LOGGER = logging.getLogger("batchyard.engines")

_AUTO = "AUTO"
_VIRTUAL = (_AUTO, "MULTI", "HETERO", "BATCH")
_HINTS: Mapping[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_TYPES: Mapping[str, str] = {
    "f16": "FP16",
    "f32": "FP32",
    "f64": "FP64",
    **{f"{sign}{bits}": f"{name}{bits}" for sign, name in (("i", "INT"), ("u", "UINT")) for bits in (8, 16, 32, 64)},
    "boolean": "BOOL",
}
_STATIC_TOKENS = 64
_STATIC_FILE_BYTES = 128 * 2**20


def choose_device(config: ModelConfig, gpu: str, available: list[str]) -> str:
    """The device by OpenVINO's name: `batchyard.device`, else the GPU of number `gpu`, else the CPU.

    `AUTO:NPU,GPU,CPU` is an order to try: those that are not in `available` are left out, with a warning. Raises
    `MissingDeviceError` where none of them is there, or any of MULTI, HETERO or BATCH, or the one device asked for.
    """
    wanted = config.device or (f"GPU.{gpu}" if gpu else "CPU")
    device = "CPU" if wanted == "cpu" else wanted
    kind, _, listed = device.partition(":")
    parts = [part for part in listed.replace(":", ",").split(",") if part] if kind in _VIRTUAL else [device]
    present = {name.partition(".")[0] for name in available}
    missing = [part for part in parts if _kind(part) not in present]
    if kind == _AUTO:
        left = [part for part in parts if part not in missing]
        missing = [part for part in missing if not part.startswith("-")]
        if left or not missing:
            return _auto(config, left, missing, available)
    if missing:
        raise MissingDeviceError(
            f"model {config.name!r}: OpenVINO finds no device {missing[0]!r}, only {', '.join(available)}; "
            "install its driver, or set batchyard.device to one of these"
        )
    return device


def _kind(part: str) -> str:
    """The kind of a device in a list: GPU for -GPU.1, CPU for CPU(2)."""
    return re.split(r"[.(]", part.removeprefix("-"))[0]


def _auto(config: ModelConfig, left: list[str], missing: list[str], available: list[str]) -> str:
    device = f"{_AUTO}:{','.join(left)}" if left else _AUTO
    device = "CPU" if left == ["CPU"] else device  # as one device it gets the CPU's own settings
    if missing:
        text = "model %r: OpenVINO finds no %s, only %s; it runs on %s, which its batchyard.device %r lists too"
        LOGGER.warning(text, config.name, " and no ".join(missing), ", ".join(available), device, config.device)
    return device


def needs_fixed_shapes(device: str) -> bool:
    """Does the device take models without open sizes only?"""
    return _kind(device) == "NPU"


def packed_shapes(config: ModelConfig) -> list[Shape]:
    """Every shape that a packed model is served in, none for another model."""
    packing = config.packing
    return [] if packing is None else [(rows, width) for width in packing.widths for rows in packing.row_counts(width)]


def compile_settings(precision: Precision, device: str, threads: int) -> dict[str, Any]:
    """An int8 model keeps its own types. The rest is FP32 on the CPU, else the device's best.

    On the CPU BF16 is no faster beside int8, and rounds a text otherwise where it lies elsewhere in its row.
    """
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision in _HINTS:
        settings["INFERENCE_PRECISION_HINT"] = _HINTS[precision]
    if device == "CPU":
        settings |= {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        settings.setdefault("INFERENCE_PRECISION_HINT", _HINTS["fp32"])
    if device.startswith(_AUTO):
        settings["ENABLE_STARTUP_FALLBACK"] = False  # else the CPU answers until the other device has compiled
    return settings


def lone_settings(precision: Precision, threads: int) -> dict[str, Any]:
    """For the CPU's models of one shape, so that they answer, to the bit, as the one for any shape does.

    With fixed shapes, OpenVINO fuses the elementwise operations before an int8 layer, which then rounds one text in
    three otherwise.
    """
    settings = compile_settings(precision, "CPU", threads)
    return settings | {"SNIPPETS_MODE": "DISABLE"} if precision == "int8" else settings


def static_shapes(config: ModelConfig, path: Path) -> list[Shape]:
    """The shapes of packed rows that are worth a compiled model of their own; none where `path` is large."""
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else path
    if config.packing is None or weights.stat().st_size > _STATIC_FILE_BYTES:
        return []
    return [(1, width) for width in config.packing.widths if width <= _STATIC_TOKENS]


def table_sizes(model: "openvino.Model") -> dict[str, int]:
    """The inputs that look up rows of a table, with how many rows it has."""
    limits: dict[str, int] = {}
    for port in model.inputs:
        for target in port.get_target_inputs():
            node = target.get_node()
            if node.get_type_name() != "Gather" or target.get_index() != 1:
                continue
            rows, axis = node.input(0).get_partial_shape()[0], node.input_value(2).get_node()
            if rows.is_static and axis.get_type_name() == "Constant" and not axis.data.any():
                limits[port.any_name] = min(rows.get_length(), limits.get(port.any_name, rows.get_length()))
    return limits


def model_tensor(port: "openvino.Output") -> ModelTensor:
    kind = port.element_type.get_type_name()
    name = port.any_name if port.names else port.node.friendly_name
    rank = port.partial_shape.rank
    shape = None if rank.is_dynamic else tuple(d.get_length() if d.is_static else -1 for d in port.partial_shape)
    return ModelTensor(name, DATA_TYPES.get(_TYPES.get(kind, "")), shape, kind)
