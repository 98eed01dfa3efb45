"""Triton's gRPC service. Its calls are made by grpc, and typed by the messages that they take."""

from typing import Any

class GRPCInferenceServiceStub:
    def __init__(self, channel: Any) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
