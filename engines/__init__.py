"""The registry of engines: a backend's name in config.pbtxt, and what opens it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from engines.base import Engine, EngineOptions
from engines.errors import MissingBackendError, ModelLoadError
from engines.generation import RemoteGenerator
from engines.text_generator import TextGenerator


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a backend's creator lives, and the SDK it needs: `package` is the import name, `extra` ours."""

    module: str
    package: str = ""
    extra: str = ""


BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "identity": Backend("engines.identity"),
        "echo": Backend("engines.echo"),
        "linear": Backend("engines.linear"),
        "onnxruntime": Backend("engines.onnxruntime", "onnxruntime", "onnxruntime"),
        "openai_upstream": Backend("engines.openai_upstream", "httpx", "upstream"),
        "openvino": Backend("engines.openvino", "openvino", "openvino"),
        "openvino_genai": Backend("engines.openvino_genai_apart", "openvino_genai", "openvino-genai"),
        "pytorch": Backend("engines.torch", "torch", "torch"),
        "tensorrt": Backend("engines.tensorrt", "tensorrt", "tensorrt"),
        "torch_generate": Backend("engines.torch_generate", "torch", "torch-generate"),
    }
)


def open_engine(options: EngineOptions, backends: Mapping[str, Backend] = BACKENDS) -> Engine:
    """Opens the engine that `options.config.backend` names; raises `ModelLoadError` or `MissingBackendError`."""
    engine: Engine = _open(options, "open_engine", backends)
    return engine


def open_generator(options: EngineOptions) -> TextGenerator:
    """Opens a generator of this process; raises as `open_engine`."""
    generator: TextGenerator = _open(options, "open_generator", BACKENDS)
    return generator


def open_remote(options: EngineOptions) -> RemoteGenerator:
    """Opens a generator of another server; raises as `open_engine`."""
    remote: RemoteGenerator = _open(options, "open_remote", BACKENDS)
    return remote


def _open(options: EngineOptions, creator: str, backends: Mapping[str, Backend]) -> Any:
    config = options.config
    backend = backends.get(config.backend)
    if backend is None:
        raise ModelLoadError(
            f"model {config.name!r}: backend {config.backend!r} is unknown; known are {', '.join(sorted(backends))}"
        )
    try:
        return getattr(import_module(backend.module), creator)(options)
    except ImportError as error:
        raise _import_failed(config.backend, backend, error) from error


def _import_failed(name: str, backend: Backend, error: ImportError) -> ModelLoadError:
    if isinstance(error, ModuleNotFoundError) and error.name == backend.package:
        return MissingBackendError(
            f"backend {name!r} needs the {backend.package} package: pip install 'batchyard[{backend.extra}]'"
        )
    return ModelLoadError(f"backend {name!r} cannot be imported: {error}")
