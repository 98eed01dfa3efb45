"""The registry of engines: a backend's name in config.pbtxt, and what opens it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from engines.base import Engine, EngineOptions
from engines.errors import MissingBackendError, ModelLoadError
from engines.generation import RemoteGenerator
from engines.model_config import ModelConfig
from engines.text_generator import TextGenerator


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a backend's creator lives, and the SDK it needs: `package` is the import name, `extra` ours.

    `apart`: its generators run in a process of their own, whatever the configuration says.
    """

    module: str
    package: str = ""
    extra: str = ""
    apart: bool = False


BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "identity": Backend("engines.identity"),
        "echo": Backend("engines.echo"),
        "linear": Backend("engines.linear"),
        "onnxruntime": Backend("engines.onnxruntime", "onnxruntime", "onnxruntime"),
        "openai_upstream": Backend("engines.openai_upstream", "httpx", "upstream"),
        "openvino": Backend("engines.openvino", "openvino", "openvino"),
        "openvino_genai": Backend("engines.openvino_genai_apart", "openvino_genai", "openvino-genai", apart=True),
        "pytorch": Backend("engines.torch", "torch", "torch"),
        "tensorrt": Backend("engines.tensorrt", "tensorrt", "tensorrt"),
        "torch_generate": Backend("engines.torch_generate", "torch", "torch-generate"),
    }
)


def open_engine(options: EngineOptions, backends: Mapping[str, Backend] = BACKENDS) -> Engine:
    """Opens the engine that `options.config.backend` names, in a process of its own where `isolation` asks for one.

    Raises `ModelLoadError` or `MissingBackendError`; `EngineLostError` where that process ends while it opens.
    """
    backend = _backend(options.config, backends)
    if options.config.isolation == "process":
        from engines.apart_engine import ApartEngine

        return ApartEngine(options, backend)
    engine: Engine = create(options, "open_engine", backend)
    return engine


def open_generator(options: EngineOptions) -> TextGenerator:
    """Opens a generator of this machine; raises as `open_engine`."""
    generator: TextGenerator = create(options, "open_generator", _not_isolated(options.config))
    return generator


def open_remote(options: EngineOptions) -> RemoteGenerator:
    """Opens a generator of another server; raises as `open_engine`."""
    remote: RemoteGenerator = create(options, "open_remote", _not_isolated(options.config))
    return remote


def create(options: EngineOptions, creator: str, backend: Backend) -> Any:
    """What the function `creator` of the backend's module opens in this process; raises as `open_engine`."""
    try:
        return getattr(import_module(backend.module), creator)(options)
    except ImportError as error:
        raise _import_failed(options.config.backend, backend, error) from error


def _backend(config: ModelConfig, backends: Mapping[str, Backend]) -> Backend:
    backend = backends.get(config.backend)
    if backend is None:
        raise ModelLoadError(
            f"model {config.name!r}: backend {config.backend!r} is unknown; known are {', '.join(sorted(backends))}"
        )
    return backend


def _not_isolated(config: ModelConfig) -> Backend:
    backend = _backend(config, BACKENDS)
    if config.isolation == "process" and not backend.apart:
        raise ModelLoadError(
            f"model {config.name!r}: backend {config.backend!r} cannot generate in a process of its own; remove the "
            "parameter batchyard.isolation"
        )
    return backend


def _import_failed(name: str, backend: Backend, error: ImportError) -> ModelLoadError:
    if isinstance(error, ModuleNotFoundError) and error.name == backend.package:
        return MissingBackendError(
            f"backend {name!r} needs the {backend.package} package: pip install 'batchyard[{backend.extra}]'"
        )
    return ModelLoadError(f"backend {name!r} cannot be imported: {error}")
