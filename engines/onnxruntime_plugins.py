"""Execution providers that come as packages of their own ("plugins") and are registered with ONNX Runtime."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from engines.errors import MissingDeviceError, ModelLoadError
from engines.model_config import ModelConfig
from engines.onnx_providers import CPU, PLUGIN, Provider

if TYPE_CHECKING:
    import onnxruntime

_PREFIX = "onnxruntime_"


def add_plugins(config: ModelConfig, options: "onnxruntime.SessionOptions", providers: Sequence[Provider]) -> bool:
    """Adds the plugins among `providers` to a session's options, with the devices they find; False where none is one.

    A package is imported, and its library registered, once a process. Raises `ModelLoadError` for a package that is no
    plugin or stands beside a provider that is none, `MissingDeviceError` where it is missing or finds no device.
    """
    plugins = [(name, given) for name, given in providers if PLUGIN in given]
    for name, _ in providers if plugins else ():
        if name not in (CPU, *(plugin for plugin, _ in plugins)):
            raise ModelLoadError(f"model {config.name!r}: {name} cannot run beside a plugin; remove one of the two")
    for name, given in plugins:
        devices = _devices(config, given[PLUGIN], name)
        options.add_provider_for_devices(devices, {key: value for key, value in given.items() if key != PLUGIN})
    return bool(plugins)


def _devices(config: ModelConfig, package: str, provider: str) -> "Sequence[onnxruntime.OrtEpDevice]":
    import onnxruntime

    if not package.startswith(_PREFIX) or not package.isidentifier():
        raise ModelLoadError(
            f"model {config.name!r}: plugin {package!r} is no package of an ONNX Runtime provider; "
            f"give its import name, {_PREFIX}..."
        )
    _register(config, package, provider)
    found = onnxruntime.get_ep_devices()
    devices = [device for device in found if device.ep_name == provider]
    if not devices:
        raise MissingDeviceError(
            f"model {config.name!r}: {package} finds no device for {provider}, only "
            f"{', '.join(sorted({device.ep_name for device in found}))} has one; install its driver, or set another "
            "accelerator"
        )
    return devices


def _register(config: ModelConfig, package: str, provider: str) -> None:
    import onnxruntime

    try:
        path = import_module(package).get_library_path()
        onnxruntime.register_execution_provider_library(provider, str(path))
    except ModuleNotFoundError as error:
        raise MissingDeviceError(
            f"model {config.name!r}: {package} is not installed; pip install {package.replace('_', '-')}, or set "
            "another accelerator"
        ) from error
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        if "already registered" not in str(error):
            text = " ".join(str(error).split())
            raise ModelLoadError(f"model {config.name!r}: {package} cannot be registered: {text}") from error
