"""Any server with the Open Inference Protocol v2 as an engine: a Triton, another Batchyard, KServe.

Parameters of config.pbtxt:
    batchyard.triton.urls              where they are, with commas between: grpc://, grpcs://, http:// or https://
    batchyard.triton.dns               or one such address whose name has all of theirs
    batchyard.triton.refresh_seconds   time between two look-ups of that name (5)
    batchyard.triton.model             the model's name there (this model's name)
    batchyard.triton.version           the model's version there (the newest)
    batchyard.triton.connections       connections to each server (gRPC 1; HTTP at most 64)
    batchyard.triton.max_queue         requests that one server is given at once (512)
    batchyard.triton.ca_file           PEM file in the model's folder with the authorities to trust (the system's)
    batchyard.triton.headers_env       NAME of the environment variable with headers to send, a "name: value" a line
    batchyard.triton.batch_timeout_ms  time for a batch, where dynamic_batching composes them here (30000)
"""

from functools import partial

from engines.base import EngineOptions
from engines.remote_model import Address, RemoteModel, RemoteServers
from engines.triton_settings import TritonSettings, read_settings


def open_servers(options: EngineOptions) -> RemoteServers:
    """Reads the parameters; connects to nothing yet. Raises `ModelLoadError`, and `ImportError` without aiohttp where
    a server is asked over HTTP."""
    settings = read_settings(options.config, options.folder.parent)
    if settings.protocol == "http":
        import aiohttp  # noqa: F401 - that it is missing is to be known now
    return RemoteServers(
        settings.model,
        settings.addresses,
        settings.name,
        settings.refresh,
        settings.max_queue,
        settings.batch_timeout,
        partial(_connect, settings),
    )


def _connect(settings: TritonSettings, address: Address) -> RemoteModel:
    if address.protocol == "http":
        from engines.triton_http import HttpModel

        return HttpModel(settings, address)
    from engines.triton_grpc import GrpcModel

    return GrpcModel(settings, address)
