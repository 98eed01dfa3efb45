"""The ONNX Runtime engine, Triton's backend "onnxruntime": any ONNX model, `model.onnx` unless config.pbtxt says else.

`model.onnx` may be a folder that holds `model.onnx` and its external weights. A `batchyard.precision` other than fp32
says what the file holds; ONNX Runtime runs the file as it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.base import EngineOptions, Outputs
from engines.batch import Batch
from engines.errors import (
    EngineError,
    EngineMemoryError,
    ExecutionError,
    InvalidInputError,
    MissingDeviceError,
    ModelLoadError,
)
from engines.fallback import with_fallback
from engines.inputs import check_inputs
from engines.model_config import ModelConfig
from engines.model_files import file_inside
from engines.model_tensors import ModelTensor, accepted, check_packed, check_tensors
from engines.onnx_file import check_external_data
from engines.onnx_providers import CPU, Provider, choose_providers, memory_of
from engines.onnxruntime_binding import BoundSession
from engines.onnxruntime_plugins import add_plugins
from engines.repository import model_file
from engines.tensor import BYTES, DATA_TYPES, Array, DataType
from engines.warmup import warmup_batches

if TYPE_CHECKING:
    import onnxruntime

_DEFAULT_FILE = "model.onnx"
_FATAL = 4  # errors come as exceptions; the log would repeat them on stderr
_CPU_INFO = Path("/proc/cpuinfo")
_SLOW_ON_CPU = ("SkipLayerNormFusion",)
_TYPES = {
    "string": "BYTES",
    "float": "FP32",
    "double": "FP64",
    "float16": "FP16",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bool": "BOOL",
}
_NO_MEMORY = ("Failed to allocate memory", "out of memory", "bad_alloc", "BFCArena")


def open_engine(options: EngineOptions) -> "OnnxRuntimeEngine":
    """Opens the model in `options.folder`; raises `ModelLoadError` where it, config.pbtxt or a provider do not fit.

    On the CPU the fusion of residual and layer normalisation stays off: its kernel is eight times slower than both
    alone, which is an eighth of a small encoder's time.
    """
    import onnxruntime

    config = options.config
    path = model_file(config, options.folder, _DEFAULT_FILE)
    if path.is_dir():
        path = file_inside(path, _DEFAULT_FILE)
    check_external_data(path)
    available = onnxruntime.get_available_providers()
    return with_fallback(
        config,
        lambda: _engine(options, path, choose_providers(config, options.device, available)),
        lambda: _engine(options, path, [(CPU, {})]),
    )


class OnnxRuntimeEngine:
    """Runs `session`, which answers the tensors that `config` declares.

    `memory`: name and number of the device memory that its tensors are bound to, None for the host's.
    """

    def __init__(
        self, config: ModelConfig, session: "onnxruntime.InferenceSession", memory: tuple[str, int] | None = None
    ) -> None:
        self.signature = config.signature
        self._accepted = accepted(config)
        self._config = config
        self._session: onnxruntime.InferenceSession | None = session
        self._outputs = [spec.name for spec in config.outputs]
        self._texts = [spec.name for spec in config.inputs if spec.datatype is BYTES]
        has_text = any(spec.datatype is BYTES for spec in (*config.inputs, *config.outputs))
        self._bound = None if memory is None or has_text else BoundSession(session, *memory, self._outputs)

    def warm_up(self) -> None:
        """Runs every shape of a packed model once, else the samples of `model_warmup`, else a row of zeros."""
        for batch in warmup_batches(self._config):
            self.run(batch)

    def run(self, batch: Batch) -> Outputs:
        """The declared outputs; raises `InvalidInputError` for inputs that the model refuses."""
        if self._session is None:
            raise EngineError("the engine is closed")
        check_inputs(batch, self._accepted)
        if self._config.packing is not None:
            check_packed(batch)
        texts = (name for name in self._texts if name in batch.inputs)
        feed = {**batch.inputs, **{name: _to_str(name, batch.inputs[name]) for name in texts}}
        try:
            found: list[Any] = self._bound.run(feed) if self._bound else self._session.run(self._outputs, feed)
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            raise _run_error(error) from error
        return {name: _from_str(array) for name, array in zip(self._outputs, found, strict=True)}

    def close(self) -> None:
        """Frees the session."""
        self._bound = None
        self._session = None


def _engine(options: EngineOptions, path: Path, providers: Sequence[Provider]) -> OnnxRuntimeEngine:
    config = options.config
    session = _open(config, str(path), _session_options(options.threads), providers)
    inputs = [_tensor(arg, required=True) for arg in session.get_inputs()]
    inputs += [_tensor(arg, required=False) for arg in session.get_overridable_initializers()]
    check_tensors(config, inputs, [_tensor(arg, required=True) for arg in session.get_outputs()])
    return OnnxRuntimeEngine(config, session, memory_of(providers))


def _session_options(threads: int) -> "onnxruntime.SessionOptions":
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = _FATAL
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without VNNI the quick INT8 products would overflow; with it the careful ones take twice as long for nothing.
    chosen.add_session_config_entry("session.x64quantprecision", "0" if has_vnni(_CPU_INFO) else "1")
    return chosen


def has_vnni(cpu_info: Path) -> bool:
    """Whether `cpu_info`, Linux' /proc/cpuinfo, names instructions that add INT8 products in 32 bits."""
    try:
        flags = next((line for line in cpu_info.read_text().splitlines() if line.startswith("flags")), "")
    except OSError:
        return False
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags.split())


def _open(
    config: ModelConfig, path: str, options: "onnxruntime.SessionOptions", providers: Sequence[Provider]
) -> "onnxruntime.InferenceSession":
    import onnxruntime

    names = [name for name, _ in providers]
    disabled = _SLOW_ON_CPU if names == [CPU] else ()
    with_plugins = add_plugins(config, options, providers)
    try:
        if with_plugins:
            session = onnxruntime.InferenceSession(path, options)
        else:
            session = onnxruntime.InferenceSession(path, options, providers=providers, disabled_optimizers=disabled)
    except Exception as error:  # as in run
        raise ModelLoadError(f"model {config.name!r}: ONNX Runtime cannot open {path}: {_line(error)}") from error
    opened = session.get_providers()
    for name in names:
        if name not in opened:
            raise MissingDeviceError(
                f"model {config.name!r}: {name} failed to start; only {', '.join(opened)} did; install its driver and "
                "libraries, or set batchyard.device"
            )
    return session


def _tensor(arg: "onnxruntime.NodeArg", *, required: bool) -> ModelTensor:
    shape = tuple(size if isinstance(size, int) else -1 for size in arg.shape)
    known = shape or None  # a tensor of unknown rank looks like a scalar
    return ModelTensor(arg.name, _data_type(arg.type), known, arg.type, required)


def _data_type(kind: str) -> DataType | None:
    """The type of ONNX Runtime's name such as tensor(float)."""
    name = _TYPES.get(kind.removeprefix("tensor(").removesuffix(")"))
    return None if name is None else DATA_TYPES[name]


def _to_str(name: str, array: Array) -> Array:
    try:
        return np.array([item.decode() for item in array.ravel()], object).reshape(array.shape)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"input {name!r} is not UTF-8 at byte {error.start} of an element") from None


def _from_str(array: Array) -> Array:
    if array.dtype != object:
        return array
    return np.array([str(item).encode() for item in array.ravel()], object).reshape(array.shape)


def _run_error(error: Exception) -> EngineError:
    from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

    text = _line(error)
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        return EngineMemoryError(text)
    if isinstance(error, InvalidArgument | ValueError | TypeError):
        return InvalidInputError(text)
    return ExecutionError(text)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
