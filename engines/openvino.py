"""The OpenVINO engine: `model.xml` (OpenVINO IR) or `model.onnx`, on the CPU, a GPU, an NPU or AUTO.

The device is `batchyard.device`, else the GPU of the instance group, else the CPU.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.base import EngineOptions, Outputs
from engines.batch import Batch
from engines.errors import EngineError, EngineMemoryError, ExecutionError, InvalidInputError, ModelLoadError
from engines.fallback import with_fallback
from engines.inputs import check_inputs
from engines.model_config import ModelConfig
from engines.model_files import file_inside
from engines.model_tensors import accepted, check_packed, check_tensors
from engines.onnx_file import check_external_data
from engines.openvino_import import import_openvino
from engines.openvino_model import (
    Shape,
    choose_device,
    compile_settings,
    lone_settings,
    model_tensor,
    needs_fixed_shapes,
    packed_shapes,
    static_shapes,
    table_sizes,
)
from engines.repository import model_file
from engines.tensor import BYTES, Array
from engines.warmup import warmup_batches

if TYPE_CHECKING:
    import openvino

Requests = Mapping[Shape | None, "openvino.InferRequest"]

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
    device = with_fallback(config, lambda: choose_device(config, options.device, core.available_devices), lambda: "CPU")
    _refuse_text(config)
    path = _model_path(options)
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise ModelLoadError(f"model {config.name!r}: OpenVINO cannot read {path}: {_line(error)}") from error
    check_tensors(config, [model_tensor(port) for port in model.inputs], [model_tensor(port) for port in model.outputs])
    try:
        requests = _requests(core, model, device, options, path)
    except RuntimeError as error:
        raise ModelLoadError(f"model {config.name!r}: OpenVINO cannot open it on {device}: {_line(error)}") from error
    return OpenVinoEngine(config, requests, table_sizes(model), options.alone)


def _requests(
    core: "openvino.Core", model: "openvino.Model", device: str, options: EngineOptions, path: Path
) -> Requests:
    config = options.config
    settings = compile_settings(config.precision, device, options.threads)
    if needs_fixed_shapes(device):
        fixed = packed_shapes(config)
        if not fixed and model.is_dynamic():
            raise ModelLoadError(
                f"model {config.name!r}: {device} takes fixed shapes only, the model has open ones; export it with "
                "fixed shapes and max_batch_size 1, or as a packed model"
            )
        return fixed_requests(core, model, device, settings, fixed) or {None: _request(core, model, device, settings)}
    lone = lone_settings(config.precision, max(options.threads, options.lone_threads))
    shapes = static_shapes(config, path) if device == "CPU" else []
    return {None: _request(core, model, device, settings), **fixed_requests(core, model, device, lone, shapes)}


def fixed_requests(
    core: "openvino.Core",
    model: "openvino.Model",
    device: str,
    settings: Mapping[str, Any],
    shapes: Sequence[Shape],
) -> Requests:
    """The model compiled for each of `shapes`, which all its inputs have."""
    return {shape: _request(core, _fixed(model, shape), device, settings) for shape in shapes}


class OpenVinoEngine:
    """Runs the one of `requests` for a batch's very shape, else the one for any shape, under None.

    The former uses all cores. `alone`: does nothing else compute on them? Else its threads would wait for each other,
    each for its turn. `limits`: input name -> the size of the table that its values look up; OpenVINO would read
    beyond it.
    """

    def __init__(
        self,
        config: ModelConfig,
        requests: Requests,
        limits: Mapping[str, int],
        alone: Callable[[], bool] = lambda: True,
    ) -> None:
        self.signature = config.signature
        self._accepted = accepted(config)
        self._config = config
        self._requests = requests
        self._limits = limits
        self._alone = alone

    def warm_up(self) -> None:
        """Runs every shape of a packed model once, else the samples of `model_warmup`, else a row of zeros."""
        for batch in warmup_batches(self._config):
            for request in self._requests_for(batch):
                self._infer(request, batch)

    def run(self, batch: Batch) -> Outputs:
        """The declared outputs, owned by the caller; raises `InvalidInputError` for inputs that the model refuses."""
        if not self._requests:
            raise EngineError("the engine is closed")
        check_inputs(batch, self._accepted)
        if self._config.packing is not None:
            check_packed(batch)
        self._check_limits(batch.inputs)
        very, *other = self._requests_for(batch)
        return self._infer(very if self._alone() or not other else other[0], batch)

    def _infer(self, request: "openvino.InferRequest", batch: Batch) -> Outputs:
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
        self._requests = {}

    def _requests_for(self, batch: Batch) -> Sequence["openvino.InferRequest"]:
        """One or two that could run a batch, that for its very shape first; raises `InvalidInputError`."""
        shape = next(iter(batch.inputs.values())).shape
        found = [request for key in (shape, None) if (request := self._requests.get(key)) is not None]
        if not found:
            known = ", ".join(str(list(one)) for one in self._requests if one is not None)
            raise InvalidInputError(f"the inputs have shape {list(shape)}, the model is compiled for {known}")
        return found

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
