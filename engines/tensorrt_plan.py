"""A TensorRT plan that has been opened: its tensors, its profiles, and the contexts that run it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import EngineError, EngineMemoryError, ExecutionError, InvalidInputError, ModelLoadError
from engines.model_tensors import ModelTensor
from engines.tensor import DATA_TYPES, DataType
from engines.tensorrt_api import Complaints, TensorRt, logger
from engines.tensorrt_cuda import Buffer, Stream

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

_TYPES: Mapping[str, str] = {
    "FLOAT": "FP32",
    "HALF": "FP16",
    "INT8": "INT8",
    "INT32": "INT32",
    "INT64": "INT64",
    "UINT8": "UINT8",
    "BOOL": "BOOL",
}
_NO_MEMORY = re.compile(r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|cuda ?error 2\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes that one optimisation profile takes, both ends included."""

    least: Shapes
    most: Shapes

    def takes(self, shapes: Shapes) -> bool:
        return all(
            len(shape) == len(self.least[name])
            and all(a <= n <= b for a, n, b in zip(self.least[name], shape, self.most[name], strict=True))
            for name, shape in shapes.items()
        )


def choose_profile(profiles: Sequence[Profile], shapes: Shapes) -> int:
    """The number of the first profile that takes `shapes`; raises `InvalidInputError` with those there are."""
    for number, profile in enumerate(profiles):
        if profile.takes(shapes):
            return number
    name, shape = next(iter(shapes.items()))
    known = ", ".join(f"{list(p.least[name])} to {list(p.most[name])}" for p in profiles)
    raise InvalidInputError(f"the plan takes no input {name!r} of shape {list(shape)}; it takes {known}")


class Plan:
    """The SDK's engine over a plan file, on the calling thread's device."""

    def __init__(self, sdk: TensorRt, path: Path, *, host_code: bool) -> None:
        """Raises `ModelLoadError`. `host_code`: may a runtime that the plan brings run in this process?"""
        self.sdk = sdk
        self.complaints = Complaints()
        self._log = logger(sdk, self.complaints)
        self._runtime = sdk.module.Runtime(self._log)
        if host_code:
            self._runtime.engine_host_code_allowed = True
        self._engine: Any = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise ModelLoadError(f"{sdk.package} {sdk.version} cannot open {path.name}: {self.complaints.take()}")
        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        is_input = sdk.module.TensorIOMode.INPUT
        self.inputs = [self._tensor(name) for name in names if engine.get_tensor_mode(name) == is_input]
        self.outputs = [self._tensor(name) for name in names if engine.get_tensor_mode(name) != is_input]
        self.profiles = [self._profile(number) for number in range(engine.num_optimization_profiles)]

    @property
    def scratch_size(self) -> int:
        """Bytes on the device that a context needs while it runs, at most; at least 1. RTX contexts bring their own."""
        return 1 if self.sdk.captures else max(1, int(self._engine.device_memory_size_v2))

    def context(self, scratch: int) -> Any:
        """A context that uses the memory at `scratch`, which contexts that never run at once may share."""
        if self.sdk.captures:
            config = self._engine.create_runtime_config()
            config.cuda_graph_strategy = self.sdk.module.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            # All kernels of a shape are compiled when it is first run, in the warm-up, not while callers wait.
            eager = self.sdk.module.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
            context = self._engine.create_execution_context(config)
        else:
            strategy = self.sdk.module.ExecutionContextAllocationStrategy.USER_MANAGED
            context = self._engine.create_execution_context(strategy)
        if context is None:
            raise self.failure()
        if not self.sdk.captures:
            context.set_device_memory(scratch, self.scratch_size)
        return context

    def failure(self) -> EngineError:
        """What the SDK's last call, which answered None or False, complained of."""
        return run_error(f"{self.sdk.package}: {self.complaints.take()}")

    def close(self) -> None:
        """Frees the engine; its contexts must be gone."""
        self._engine = None
        self._runtime = None

    def _tensor(self, name: str) -> ModelTensor:
        kind = self._engine.get_tensor_dtype(name).name
        if self._engine.is_shape_inference_io(name):
            raise ModelLoadError(f"{name!r} of the plan is a shape, read on the host, which is not served")
        shape = tuple(self._engine.get_tensor_shape(name))
        return ModelTensor(name, _data_type(kind), shape, kind)

    def _profile(self, number: int) -> Profile:
        found = {t.name: self._engine.get_tensor_profile_shape(t.name, number) for t in self.inputs}
        least = {name: tuple(shapes[0]) for name, shapes in found.items()}
        return Profile(least, {name: tuple(shapes[2]) for name, shapes in found.items()})


class Lane:
    """One context with its buffers: the inputs of one shape at a time go in, the outputs come out."""

    def __init__(self, plan: Plan, stream: Stream, scratch: int) -> None:
        self._plan = plan
        self._stream = stream
        self._context = plan.context(scratch)
        self._profile = -1
        self._sizes: list[tuple[Buffer, int]] = []
        self._results: list[tuple[Buffer, int]] = []
        self.shapes: Shapes = {}
        self.output_shapes: Shapes = {}

    def bind(self, shapes: Shapes, profile: int) -> Shapes:
        """Sets the shapes of all inputs; answers those of the outputs."""
        context = self._context
        self.shapes = {}  # until all of it has succeeded
        if profile != self._profile and not context.set_optimization_profile_async(profile, self._stream.handle):
            raise self._plan.failure()
        self._profile = profile
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise self._plan.failure()
        self.output_shapes = {t.name: tuple(context.get_tensor_shape(t.name)) for t in self._plan.outputs}
        return self.output_shapes

    def prepare(self, shapes: Shapes, profile: int, buffers: Mapping[str, Buffer]) -> None:
        """Makes ready for `enqueue`: the inputs have these shapes, the tensors lie in `buffers`."""
        self.bind(shapes, profile)
        for name, buffer in buffers.items():
            if not self._context.set_tensor_address(name, buffer.device):
                raise self._plan.failure()
        self._sizes = [(buffers[t.name], size_of(t, shapes[t.name])) for t in self._plan.inputs]
        self._results = [(buffers[t.name], size_of(t, self.output_shapes[t.name])) for t in self._plan.outputs]
        self.shapes = shapes

    def enqueue(self) -> None:
        """Puts the copies and the work on the stream."""
        for buffer, size in self._sizes:
            self._stream.to_device(buffer, size)
        if not self._context.execute_async_v3(self._stream.handle):
            raise self._plan.failure()
        for buffer, size in self._results:
            self._stream.to_host(buffer, size)


def run_error(text: str) -> EngineError:
    """The error for what the SDK said when it failed."""
    return EngineMemoryError(text) if _NO_MEMORY.search(text) else ExecutionError(text)


def size_of(tensor: ModelTensor, shape: Shape) -> int:
    """Bytes of a tensor of `shape`."""
    size = 1 if tensor.datatype is None else tensor.datatype.size
    for count in shape:
        size *= count
    return size


def _data_type(kind: str) -> DataType | None:
    name = _TYPES.get(kind)
    return None if name is None else DATA_TYPES[name]
