"""The OpenVINO engine: `model.xml` (OpenVINO IR) or `model.onnx`, on the CPU, a GPU, an NPU or AUTO.

The device is `batchyard.device`, else the GPU of the instance group, else the CPU.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.base import EngineOptions, Outputs
from engines.batch import Batch
from engines.errors import EngineError, EngineMemoryError, ExecutionError, InvalidInputError, ModelLoadError
from engines.inputs import check_inputs
from engines.model_config import ModelConfig
from engines.model_files import file_inside
from engines.model_tensors import accepted, check_packed, check_tensors
from engines.onnx_file import check_external_data
from engines.openvino_import import import_openvino
from engines.openvino_model import Shape, choose_device, compile_settings, model_tensor, static_shapes, table_sizes
from engines.repository import model_file
from engines.tensor import BYTES, Array, Signature
from engines.warmup import warmup_batches

if TYPE_CHECKING:
    import openvino

_IR, _ONNX = "model.xml", "model.onnx"
_NO_MEMORY = re.compile(r"out of memory|bad_alloc|bad allocation|OUT_OF_\w*MEMORY|exceed\w* .*memory", re.IGNORECASE)
_WRONG_SHAPE = re.compile(r"shape_inference|shape infer|isCompatible|ParameterMismatch", re.IGNORECASE)


def open_engine(options: EngineOptions) -> "OpenVinoEngine":
    """Opens the model in `options.folder`; raises `ModelLoadError` where it, config.pbtxt or the device do not fit.

    Packed models on the CPU get, beside the model for any shape, one each for a single row of up to 64 tokens: it runs
    when little waits, so it takes all cores and answers up to twice as soon, for a second copy of the weights; models
    above 128 MB do without.
    """
    openvino = import_openvino()
    config = options.config
    core = openvino.Core()
    device = choose_device(config, options.device, core.available_devices)
    _refuse_text(config)
    path = _model_path(options)
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise ModelLoadError(f"model {config.name!r}: OpenVINO cannot read {path}: {_line(error)}") from error
    check_tensors(config, [model_tensor(port) for port in model.inputs], [model_tensor(port) for port in model.outputs])
    shapes = static_shapes(config, path) if device == "CPU" else []
    settings = compile_settings(config.precision, device, options.threads)
    lone = compile_settings(config.precision, device, max(options.threads, options.lone_threads))
    try:
        request = _request(core, model, device, settings)
        static = {shape: _request(core, _fixed(model, shape), device, lone) for shape in shapes}
    except RuntimeError as error:
        raise ModelLoadError(f"model {config.name!r}: OpenVINO cannot open it on {device}: {_line(error)}") from error
    return OpenVinoEngine(config, request, static, table_sizes(model))


class OpenVinoEngine:
    """Runs `request`, or one of `static` for a batch of that very shape.

    `limits`: input name -> the size of the table that its values look up; OpenVINO would read beyond it.
    """

    def __init__(
        self,
        config: ModelConfig,
        request: "openvino.InferRequest",
        static: Mapping[Shape, "openvino.InferRequest"],
        limits: Mapping[str, int],
    ) -> None:
        self.signature = Signature(config.inputs, config.outputs, config.max_batch_size)
        self._accepted = accepted(config)
        self._config = config
        self._request: openvino.InferRequest | None = request
        self._static = static
        self._limits = limits

    def warm_up(self) -> None:
        """Runs every shape of a packed model once, else the samples of `model_warmup`, else a row of zeros."""
        for batch in warmup_batches(self._config):
            self.run(batch)

    def run(self, batch: Batch) -> Outputs:
        """The declared outputs, owned by the caller; raises `InvalidInputError` for inputs that the model refuses."""
        if self._request is None:
            raise EngineError("the engine is closed")
        check_inputs(batch, self._accepted)
        if self._config.packing is not None:
            check_packed(batch)
        self._check_limits(batch.inputs)
        request = self._request
        if self._static:
            request = self._static.get(next(iter(batch.inputs.values())).shape, request)
        lent = {name: _lendable(array) for name, array in batch.inputs.items()}  # alive until the run is over
        tensor = import_openvino().Tensor
        try:
            for name, array in lent.items():
                request.set_tensor(name, tensor(array, shared_memory=True))
            request.infer()
            # Copies: the request overwrites its tensors at the next run.
            return {spec.name: np.array(request.get_tensor(spec.name).data) for spec in self.signature.outputs}
        except (RuntimeError, MemoryError) as error:
            raise _run_error(error) from error

    def close(self) -> None:
        """Frees the compiled model."""
        self._request = None
        self._static = {}

    def _check_limits(self, inputs: Mapping[str, Array]) -> None:
        for name, limit in self._limits.items():
            array = inputs[name]
            if array.size and not (-limit <= array.min() and array.max() < limit):
                found = array.max() if array.max() >= limit else array.min()
                raise InvalidInputError(f"input {name!r} holds {found}, the model knows values from 0 to {limit - 1}")


def _refuse_text(config: ModelConfig) -> None:
    for spec in (*config.inputs, *config.outputs):
        if spec.datatype is BYTES:
            raise ModelLoadError(
                f"model {config.name!r}: {spec.name!r} is TYPE_STRING, on which OpenVINO's CPU device corrupts memory; "
                'use backend: "onnxruntime"'
            )


def _model_path(options: EngineOptions) -> Path:
    config, folder = options.config, options.folder
    path = model_file(config, folder, _IR if (folder / _IR).exists() else _ONNX)
    if path.suffix == ".xml":
        file_inside(folder, path.with_suffix(".bin").name)
    elif path.suffix == ".onnx":
        path = file_inside(path, _ONNX) if path.is_dir() else path
        check_external_data(path)
    else:
        raise ModelLoadError(f"model {config.name!r}: {path.name!r} is no OpenVINO .xml and no .onnx; convert it")
    return path


def _fixed(model: "openvino.Model", shape: Shape) -> "openvino.Model":
    copy = model.clone()
    copy.reshape({port.any_name: list(shape) for port in copy.inputs})
    return copy


def _request(
    core: "openvino.Core", model: "openvino.Model", device: str, settings: Mapping[str, Any]
) -> "openvino.InferRequest":
    return core.compile_model(model, device, dict(settings)).create_infer_request()


def _lendable(array: Array) -> Array:
    """OpenVINO reads row-major memory, and takes no read-only array."""
    return np.require(array, requirements=["C", "W"])


def _run_error(error: Exception) -> EngineError:
    text = _line(error)
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return EngineMemoryError(text)
    return InvalidInputError(text) if _WRONG_SHAPE.search(text) else ExecutionError(text)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
