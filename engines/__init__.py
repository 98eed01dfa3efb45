"""The registry of engines: a backend's name in config.pbtxt, and what opens it."""

from __future__ import annotations  # a model's own process imports this room, and needs none of the types below

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from engines.errors import MissingBackendError, ModelLoadError

if TYPE_CHECKING:
    from pathlib import Path

    from engines.base import Engine, EngineOptions
    from engines.calls import CallEngine
    from engines.generation import RemoteGenerator
    from engines.model_config import ModelConfig
    from engines.remote_model import RemoteServers
    from engines.text_generator import TextGenerator


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a backend's creator lives, and the SDK it needs: `package` is the import name, `extra` ours.

    `apart`: its generators run in a process of their own, whatever the configuration says. `calls`: it is opened by
    `open_call_engine`.
    """

    module: str
    package: str = ""
    extra: str = ""
    apart: bool = False
    calls: bool = False


BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "identity": Backend("engines.identity"),
        "echo": Backend("engines.echo"),
        "linear": Backend("engines.linear"),
        "onnxruntime": Backend("engines.onnxruntime", "onnxruntime", "onnxruntime"),
        "openai_upstream": Backend("engines.openai_upstream", "httpx", "upstream"),
        "openvino": Backend("engines.openvino", "openvino", "openvino"),
        "openvino_genai": Backend("engines.openvino_genai_apart", "openvino_genai", "openvino-genai", apart=True),
        "python": Backend("engines.python_backend.engine", calls=True),
        "pytorch": Backend("engines.torch", "torch", "torch"),
        "tensorrt": Backend("engines.tensorrt", "tensorrt", "tensorrt"),
        "torch_generate": Backend("engines.torch_generate", "torch", "torch-generate"),
        "triton": Backend("engines.triton", "aiohttp", "remote-http"),
    }
)


def open_engine(options: EngineOptions, backends: Mapping[str, Backend] = BACKENDS) -> Engine:
    """Opens the engine that `options.config.backend` names, in a process of its own where `isolation` asks for one.

    Raises `ModelLoadError` or `MissingBackendError`; `EngineLostError` where that process ends while it opens.
    """
    backend = _backend(options.config, backends)
    engine = _open_apart(options, backend) if options.config.isolation == "process" else open_here(options, backend)
    if not options.config.batch_outputs:
        return engine
    from engines.scattered import ScatteredEngine

    return ScatteredEngine(engine, options.config.batch_outputs)


def _open_apart(options: EngineOptions, backend: Backend) -> Engine:
    from engines.apart_engine import ApartEngine

    return ApartEngine(options, backend)


def open_here(options: EngineOptions, backend: Backend) -> Engine:
    """Opens an engine in this process, with the shapes that its model has; raises as `open_engine`."""
    from engines.reshape import ReshapingEngine, inner_config, reshape_of

    reshape = reshape_of(options.config)
    engine: Engine = create(replace(options, config=inner_config(options.config)), "open_engine", backend)
    return ReshapingEngine(engine, reshape) if reshape else engine


def takes_calls(config: ModelConfig) -> bool:
    """Does the model's engine take requests apart, so that `open_call_engine` opens it?"""
    backend = BACKENDS.get(config.backend)
    return backend is not None and backend.calls


def open_call_engine(options: EngineOptions) -> CallEngine:
    """Opens an engine that takes requests apart; it runs in a process of its own. Raises as `open_engine`."""
    from engines.reshape import ReshapingCallEngine, inner_config, reshape_of

    reshape, inner = reshape_of(options.config), replace(options, config=inner_config(options.config))
    engine: CallEngine = create(inner, "open_engine", _backend(options.config, BACKENDS))
    return ReshapingCallEngine(engine, reshape) if reshape else engine


def complete_config(config: ModelConfig, version_folder: Path) -> ModelConfig:
    """The configuration with what the model itself says of it, before it is opened; raises as `open_engine`.

    Triton's `auto_complete_config`. Blocks while a process runs it.
    """
    if config.backend != "python":
        return config
    from engines.python_backend.complete import complete

    return complete(config, version_folder)


def open_generator(options: EngineOptions) -> TextGenerator:
    """Opens a generator of this machine; raises as `open_engine`."""
    generator: TextGenerator = create(options, "open_generator", _not_isolated(options.config))
    return generator


def open_remote(options: EngineOptions) -> RemoteGenerator:
    """Opens a generator of another server; raises as `open_engine`."""
    remote: RemoteGenerator = create(options, "open_remote", _not_isolated(options.config))
    return remote


def open_servers(options: EngineOptions) -> RemoteServers:
    """Says which other servers run a model, and what connects to them; raises as `open_engine`."""
    servers: RemoteServers = create(options, "open_servers", _not_isolated(options.config))
    return servers


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
