"""The registry of engines: a backend's name in config.pbtxt, and what opens it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

from engines.base import Creator, Engine, EngineOptions
from engines.errors import MissingBackendError, ModelLoadError


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a backend's creator `open` lives, and the SDK it needs: `package` is the import name, `extra` ours."""

    module: str
    package: str = ""
    extra: str = ""


BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "identity": Backend("engines.identity"),
        "linear": Backend("engines.linear"),
        "onnxruntime": Backend("engines.onnxruntime", "onnxruntime", "onnxruntime"),
        "openvino": Backend("engines.openvino", "openvino", "openvino"),
        "pytorch": Backend("engines.torch", "torch", "torch"),
        "tensorrt": Backend("engines.tensorrt", "tensorrt", "tensorrt"),
    }
)


def open_engine(options: EngineOptions, backends: Mapping[str, Backend] = BACKENDS) -> Engine:
    """Opens the engine that `options.config.backend` names; raises `ModelLoadError` or `MissingBackendError`."""
    config = options.config
    backend = backends.get(config.backend)
    if backend is None:
        raise ModelLoadError(
            f"model {config.name!r}: backend {config.backend!r} is unknown; known are {', '.join(sorted(backends))}"
        )
    try:
        create: Creator = import_module(backend.module).open_engine
        return create(options)
    except ImportError as error:
        raise _import_failed(config.backend, backend, error) from error


def _import_failed(name: str, backend: Backend, error: ImportError) -> ModelLoadError:
    if isinstance(error, ModuleNotFoundError) and error.name == backend.package:
        return MissingBackendError(
            f"backend {name!r} needs the {backend.package} package: pip install 'batchyard[{backend.extra}]'"
        )
    return ModelLoadError(f"backend {name!r} cannot be imported: {error}")
