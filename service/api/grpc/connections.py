"""The connections of gRPC: what each may take, and whether they are encrypted."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from grpc import aio

from service.door.tls import Tls
from service.limit_settings import LimitSettings

_KEEPALIVE = (
    ("grpc.keepalive_time_ms", 7_200_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 2),
    ("grpc.http2.min_ping_interval_without_data_ms", 300_000),
    ("grpc.http2.max_ping_strikes", 2),
)
"""As Triton's are by default."""


@dataclass(frozen=True, slots=True)
class GrpcConnections:
    """`most_streams`: calls that a connection may have open. `tls`: None for plain connections."""

    most_streams: int
    limits: LimitSettings
    tls: Tls | None = None

    def options(self) -> Sequence[tuple[str, int]]:
        """gRPC's names for the limits. It counts 32 bytes for each header beside its name and value."""
        limits = self.limits
        metadata = limits.max_header_bytes + 32 * limits.max_headers
        return (
            ("grpc.max_concurrent_streams", self.most_streams),
            ("grpc.max_metadata_size", metadata),
            ("grpc.absolute_max_metadata_size", metadata),
            ("grpc.server_handshake_timeout_ms", limits.head_seconds * 1000),
            ("grpc.max_allowed_incoming_connections", limits.max_connections),
            *_KEEPALIVE,
        )

    def open(self, server: aio.Server, address: str) -> None:
        """Listens. Raises `RuntimeError` where it cannot."""
        if self.tls is None:
            server.add_insecure_port(address)
            return
        pair = (self.tls.key, self.tls.certificate)
        credentials = grpc.ssl_server_credentials([pair], self.tls.client_ca or None, bool(self.tls.client_ca))
        server.add_secure_port(address, credentials)
