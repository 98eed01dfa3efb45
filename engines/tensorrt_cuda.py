"""The little of CUDA that the TensorRT engine needs: a device, a stream, buffers on both sides, captured graphs.

Calls raise `EngineMemoryError` where the device or pinned memory is full, else `ExecutionError`.
"""

import ctypes
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from engines.errors import EngineError, EngineMemoryError, ExecutionError, MissingBackendError, ModelLoadError
from engines.tensor import Array, element_count


def missing_device() -> str:
    """What is missing for a CUDA device: "no NVIDIA driver ..."; "" where there is a device."""
    runtime = _runtime()
    error, count = runtime.cudaGetDeviceCount()
    if error == runtime.cudaError_t.cudaSuccess:
        return "" if count else "0 CUDA devices"
    _, driver = runtime.cudaDriverGetVersion()
    found = f"an NVIDIA driver for CUDA {driver // 1000}.{driver % 1000 // 10}" if driver else "no NVIDIA driver"
    return f"{found} ({error.name}: {_text(error)})"


def take_device(number: int) -> None:
    """Makes the device the calling thread's; raises `ModelLoadError` where it is not there."""
    missing = missing_device()
    if missing:
        raise ModelLoadError(
            f"a CUDA device is needed, found {missing}; install the driver (in a container: run it with --gpus), "
            "or give the route a model of another engine"
        )
    runtime = _runtime()
    _, count = runtime.cudaGetDeviceCount()
    if number >= count:
        raise ModelLoadError(f"GPU {number} is not there, found {count}, numbered from 0; use one of them")
    _call(runtime.cudaSetDevice, number)


class DeviceMemory:
    """`size` bytes on the thread's device."""

    def __init__(self, size: int) -> None:
        self.address: int = _call(_runtime().cudaMalloc, size)

    def free(self) -> None:
        with suppress(ExecutionError):  # a device that failed answers every call so
            _call(_runtime().cudaFree, self.address)


class Buffer:
    """`size` bytes on the device, and as many pinned ones on the host to copy from and to."""

    def __init__(self, size: int) -> None:
        runtime = _runtime()
        self._device = DeviceMemory(size)
        try:
            self.host: int = _call(runtime.cudaHostAlloc, size, runtime.cudaHostAllocDefault)
        except EngineError:
            self._device.free()
            raise
        self._bytes: Array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self.host))

    @property
    def device(self) -> int:
        return self._device.address

    def view(self, dtype: "np.dtype[Any]", shape: Sequence[int]) -> Array:
        """The host's side as a tensor; the next run overwrites it."""
        found: Array = self._bytes[: element_count(shape) * dtype.itemsize].view(dtype).reshape(shape)
        return found

    def free(self) -> None:
        self._device.free()
        with suppress(ExecutionError):
            _call(_runtime().cudaFreeHost, self.host)


class Stream:
    """A stream of work on the thread's device. `handle`: what an SDK takes it by."""

    def __init__(self) -> None:
        runtime = _runtime()
        self._stream = _call(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking)
        self.handle = int(self._stream)

    def to_device(self, buffer: Buffer, size: int) -> None:
        runtime = _runtime()
        kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        _call(runtime.cudaMemcpyAsync, buffer.device, buffer.host, size, kind, self._stream)

    def to_host(self, buffer: Buffer, size: int) -> None:
        runtime = _runtime()
        kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _call(runtime.cudaMemcpyAsync, buffer.host, buffer.device, size, kind, self._stream)

    def wait(self) -> None:
        _call(_runtime().cudaStreamSynchronize, self._stream)

    def capture(self, work: Callable[[], None]) -> Any:
        """A graph of what `work` puts on the stream, which is not run. For `launch` and `drop`."""
        runtime = _runtime()
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal  # other threads may allocate meanwhile
        _call(runtime.cudaStreamBeginCapture, self._stream, mode)
        try:
            work()
        except EngineError:
            runtime.cudaStreamEndCapture(self._stream)
            raise
        graph = _call(runtime.cudaStreamEndCapture, self._stream)
        try:
            return _call(runtime.cudaGraphInstantiate, graph, 0)
        finally:
            runtime.cudaGraphDestroy(graph)

    def launch(self, graph: Any) -> None:
        _call(_runtime().cudaGraphLaunch, graph, self._stream)

    def drop(self, graph: Any) -> None:
        _runtime().cudaGraphExecDestroy(graph)

    def close(self) -> None:
        _runtime().cudaStreamDestroy(self._stream)


def _runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ModuleNotFoundError as error:
        raise MissingBackendError(
            "backend 'tensorrt' needs the cuda-bindings package: pip install 'batchyard[tensorrt]'"
        ) from error
    return runtime


def _call(function: Callable[..., tuple[Any, ...]], *arguments: object) -> Any:
    error, *values = function(*arguments)
    codes = type(error)
    if error == codes.cudaSuccess:
        return values[0] if values else None
    line = f"{function.__name__}: {error.name}: {_text(error)}"
    raise (EngineMemoryError if error == codes.cudaErrorMemoryAllocation else ExecutionError)(line)


def _text(error: Any) -> str:
    _, text = _runtime().cudaGetErrorString(error)
    return str(text.decode())
