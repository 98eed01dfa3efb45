"""What both protocols tell of the server and its models."""

from collections.abc import Sequence

from engines.model_config import ModelConfig
from engines.tensor import Signature
from service.api.operations import Operations
from service.errors import ModelUnavailableError, NotFoundError
from service.gateway import Gateway
from service.stopping import Stopping
from service.types import ModelInfo, Tenant

_EXTENSIONS = (
    "classification",
    "sequence",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
)
"""Triton's names of the extensions that are served, in its order."""
_CONTROLLED = "model_repository"
"""Of these the index alone is served where callers may not load and unload models."""


def extensions(operations: Operations) -> tuple[str, ...]:
    """Triton's names of the extensions that are served, in its order."""
    controlled = operations.repository is not None
    return tuple(name for name in _EXTENSIONS if controlled or not name.startswith(_CONTROLLED))


def server_ready(gateway: Gateway, stopping: Stopping) -> bool:
    """True while any model can answer, or where there are none: a bad model does not take the others down.

    False from the moment on that the server is told to stop.
    """
    models = gateway.models()
    return not stopping.begun and (not models or any(model.ready for model in models))


def ready_signature(gateway: Gateway, model: str, version: str = "") -> Signature:
    """What a model takes and gives; raises `NotFoundError`, or `ModelUnavailableError` where it cannot answer now."""
    info = gateway.model(model, version)
    if not info.ready:
        raise ModelUnavailableError(f"model {model!r} is unavailable: {info.reason}")
    return info.signature


def config_of(gateway: Gateway, model: str, version: str) -> ModelConfig:
    """A model's configuration; raises `NotFoundError`, or `ModelUnavailableError` where it cannot be read."""
    info = gateway.model(model, version)
    if info.config is not None:
        return info.config
    if info.variants:
        raise NotFoundError(f"{model!r} is a route over {', '.join(info.variants)}; ask for the config of one of them")
    raise ModelUnavailableError(f"the config of model {model!r} cannot be read: {info.reason}")


def check_traced(gateway: Gateway, model: str) -> None:
    """Raises `NotFoundError` where trace settings are asked of a model that is not there; "" is the server."""
    try:
        if model:
            gateway.model(model)
    except NotFoundError as error:
        raise error.as_triton(f"Request for unknown model : {model}") from None


def known_models(gateway: Gateway, tenant: Tenant) -> Sequence[ModelInfo]:
    """The models and routes that the caller may ask."""
    return [model for model in gateway.models() if tenant.may_ask(model.name)]


def repository_models(gateway: Gateway, only_ready: bool, tenant: Tenant) -> Sequence[ModelInfo]:
    """The models of the repository's index: no routes, and none that the caller may not ask."""
    known = known_models(gateway, tenant)
    return [model for model in known if not model.variants and (model.ready or not only_ready)]
