"""The TensorRT engine, Triton's backend "tensorrt": a plan, `model.plan`, on one NVIDIA GPU.

Each instance has a stream, pinned buffers and contexts of its own. Work of the shapes that are warmed is captured as
CUDA graphs: a small batch is a hundred kernels of a few microseconds, and launching them one by one takes as long.
"""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from engines.base import EngineOptions, Outputs
from engines.batch import Batch
from engines.errors import EngineError, InvalidInputError, MissingBackendError, ModelLoadError
from engines.gpu_number import gpu_number
from engines.inputs import check_inputs
from engines.model_config import ModelConfig
from engines.model_files import file_inside
from engines.model_tensors import accepted, check_packed, check_tensors
from engines.repository import model_file
from engines.tensorrt_api import TensorRt, load_tensorrt
from engines.tensorrt_cuda import Buffer, DeviceMemory, Stream, take_device
from engines.tensorrt_notes import PlanNotes, read_notes
from engines.tensorrt_plan import Lane, Plan, Shapes, choose_profile, size_of
from engines.warmup import warmup_batches

LOGGER = logging.getLogger("batchyard.engines")

HOST_CODE = "batchyard.tensorrt.host_code"
"""The parameter that lets a plan's own runtime run in this process, as version-compatible plans need."""

_DEFAULT_FILE = "model.plan"
_MOST_GRAPHS = 64
"""Graphs of one instance; each has a context of its own, some megabytes."""


def open_engine(options: EngineOptions) -> "TensorRtEngine":
    """Opens the plan in `options.folder` on a GPU; raises `ModelLoadError` where it, config.pbtxt or that do not fit.

    The calling thread is bound to that GPU.
    """
    config = options.config
    number = _device(config, options.device)
    path = model_file(config, options.folder, _DEFAULT_FILE)
    path = file_inside(path.parent, path.name)
    notes = read_notes(path)
    host_code = _host_code(config, notes)
    sdk = load_tensorrt(notes.sdk)
    try:
        take_device(number)
        return _open(config, sdk, path, notes, host_code=host_code)
    except MissingBackendError:
        raise
    except EngineError as error:
        built = f" (built with {notes.sdk} {notes.version})" if notes.sdk else ""
        raise ModelLoadError(f"model {config.name!r}: {path.name}{built}: {error}") from error


def _device(config: ModelConfig, given: str) -> int:
    if config.fallback:
        raise ModelLoadError(
            f"model {config.name!r}: batchyard.fallback is {config.fallback!r}, but a plan runs on a GPU only; "
            "remove it, and give the route a model of another engine"
        )
    wanted = given or config.device
    if not wanted and any(group.kind == "KIND_CPU" for group in config.instance_groups):
        raise ModelLoadError(f"model {config.name!r}: a plan runs on a GPU only; use KIND_GPU in instance_group")
    number = gpu_number(wanted or "cuda")
    if number is None:
        raise ModelLoadError(f"model {config.name!r}: device {wanted!r} is unknown to TensorRT; use cuda or cuda:N")
    return number


def _host_code(config: ModelConfig, notes: PlanNotes) -> bool:
    value = config.parameters.get(HOST_CODE, "false")
    if value not in ("true", "false"):
        raise ModelLoadError(f"model {config.name!r}: {HOST_CODE} is {value!r}; use true or false")
    if notes.host_code and value == "false":
        raise ModelLoadError(
            f"model {config.name!r}: its plan brings a runtime, code that runs in this process; "
            f"set {HOST_CODE} to true if you trust who built it, or build it without portability"
        )
    return value == "true"


def _open(config: ModelConfig, sdk: TensorRt, path: Path, notes: PlanNotes, *, host_code: bool) -> "TensorRtEngine":
    plan = Plan(sdk, path, host_code=host_code)
    check_tensors(config, plan.inputs, plan.outputs)
    for batch in warmup_batches(config):
        try:
            choose_profile(plan.profiles, {tensor.name: batch.inputs[tensor.name].shape for tensor in plan.inputs})
        except InvalidInputError as error:
            raise ModelLoadError(f"{error}; config.pbtxt asks for it: build the model again") from error
    return TensorRtEngine(config, plan, notes.table_sizes)


class TensorRtEngine:
    """Runs `plan`. `limits`: input name -> the size of the table that its values look up."""

    def __init__(self, config: ModelConfig, plan: Plan, limits: Mapping[str, int]) -> None:
        self.signature = config.signature
        self._accepted = accepted(config)
        self._config = config
        self._limits = limits
        self._plan = plan
        self._graphs: dict[tuple[tuple[str, tuple[int, ...]], ...], tuple[Lane, Any]] = {}
        self._buffers: dict[str, Buffer] = {}
        with ExitStack() as held:
            held.callback(plan.close)
            self._stream = Stream()
            held.callback(self._stream.close)
            self._scratch = DeviceMemory(plan.scratch_size)
            held.callback(self._scratch.free)
            self._lane: Lane | None = Lane(plan, self._stream, self._scratch.address)
            for name, size in _sizes(plan, self._lane).items():
                self._buffers[name] = Buffer(size)
                held.callback(self._buffers[name].free)
            self._held = held.pop_all()

    def warm_up(self) -> None:
        """Runs every shape of a packed model once, else the samples of `model_warmup`, else a row of zeros."""
        batches = sorted(warmup_batches(self._config), key=_elements)
        for batch in batches:
            self.run(batch)
        if not self._plan.sdk.captures:
            self._capture(batches[:_MOST_GRAPHS])

    def run(self, batch: Batch) -> Outputs:
        """The declared outputs, owned by the caller; raises `InvalidInputError` for a shape that no profile takes."""
        if self._lane is None:
            raise EngineError("the engine is closed")
        shapes = self._checked(batch)
        lane, graph = self._graphs.get(tuple(shapes.items()), (self._lane, None))
        if graph is None:
            self._prepare(lane, shapes)
        for name in shapes:
            array = batch.inputs[name]
            self._buffers[name].view(array.dtype, array.shape)[...] = array
        if graph is None:
            lane.enqueue()
        else:
            self._stream.launch(graph)
        self._stream.wait()
        return {
            spec.name: np.array(self._buffers[spec.name].view(spec.datatype.numpy, lane.output_shapes[spec.name]))
            for spec in self.signature.outputs
        }

    def close(self) -> None:
        """Frees the device's memory."""
        self._graphs = {}
        self._lane = None  # contexts go before the plan
        self._held.close()

    def _checked(self, batch: Batch) -> Shapes:
        check_inputs(batch, self._accepted)
        if self._config.packing is not None:
            check_packed(batch)
        for name, limit in self._limits.items():
            array = batch.inputs[name]
            if array.size and not (array.min() >= 0 and array.max() < limit):
                found = array.max() if array.max() >= limit else array.min()
                raise InvalidInputError(f"input {name!r} holds {found}, the model knows values from 0 to {limit - 1}")
        return {tensor.name: batch.inputs[tensor.name].shape for tensor in self._plan.inputs}

    def _prepare(self, lane: Lane, shapes: Shapes) -> None:
        if lane.shapes != shapes:
            lane.prepare(shapes, choose_profile(self._plan.profiles, shapes), self._buffers)

    def _capture(self, batches: list[Batch]) -> None:
        """Graphs of these shapes. One context each, as a graph is void once its context has run another shape."""
        try:
            for batch in batches:
                shapes = self._checked(batch)
                lane = Lane(self._plan, self._stream, self._scratch.address)
                self._prepare(lane, shapes)
                lane.enqueue()  # the first run of a shape does work that no graph may hold
                self._stream.wait()
                graph = self._stream.capture(lane.enqueue)
                self._held.callback(self._stream.drop, graph)
                self._graphs[tuple(shapes.items())] = (lane, graph)
        except EngineError as error:
            LOGGER.warning("model %s runs with %d CUDA graphs: %s", self._config.name, len(self._graphs), error)


def _elements(batch: Batch) -> int:
    return sum(array.size for array in batch.inputs.values())


def _sizes(plan: Plan, lane: Lane) -> dict[str, int]:
    """The most bytes of each tensor; raises `ModelLoadError` for an output whose size only the data tells."""
    sizes = {tensor.name: 1 for tensor in (*plan.inputs, *plan.outputs)}
    for number, profile in enumerate(plan.profiles):
        shapes = {**profile.most, **lane.bind(profile.most, number)}
        for tensor in (*plan.inputs, *plan.outputs):
            if min(shapes[tensor.name], default=0) < 0:
                raise ModelLoadError(f"the size of output {tensor.name!r} depends on the data, which is not served")
            sizes[tensor.name] = max(sizes[tensor.name], size_of(tensor, shapes[tensor.name]))
    return sizes
