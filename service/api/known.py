"""What a hot endpoint needs to know of a model before it can ask it."""

from engines.tensor import Signature
from service.errors import ModelUnavailableError
from service.gateway import Gateway


def ready_signature(gateway: Gateway, model: str, version: str = "") -> Signature:
    """What a model takes and gives; raises `NotFoundError`, or `ModelUnavailableError` where it cannot answer now."""
    info = gateway.model(model, version)
    if not info.ready:
        raise ModelUnavailableError(f"model {model!r} is unavailable: {info.reason}")
    return info.signature
