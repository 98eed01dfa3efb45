"""The one door: every protocol calls `Gateway.infer`."""

from collections.abc import Callable, Sequence
from typing import Protocol

from service.types import InferRequest, InferResponse, ModelInfo

Clock = Callable[[], float]
"""Monotonic seconds."""


class GatewayProtocol(Protocol):
    """SKETCH, to be replaced by the class Gateway with these members."""

    clock: Clock

    async def infer(self, request: InferRequest) -> InferResponse:
        """Raises `service.errors.BatchyardError` only. Cancelling the awaiting task drops the work."""

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Raises `NotFoundError`."""

    def models(self) -> Sequence[ModelInfo]:
        """All models and routes, unavailable ones included."""
