"""The table `limits` of gateway.toml, as it is written: what a connection may do before an endpoint sees it."""

from pydantic import BaseModel, ConfigDict, Field


class LimitSettings(BaseModel):
    """What one connection, one address and all together may take. Times are looked at once a second.

    `max_header_bytes`, `max_headers`: names and values of a request's headers, and how many. `max_url_bytes`: of path
    and query. `head_seconds`: from a request's first byte to the end of its headers; a TLS handshake gets as long.
    `body_seconds`, `min_body_rate`: a body is whole within these seconds, and one more for each so many bytes that have
    come. `idle_seconds`: without a request; longer than clients keep connections in their pools, so that none writes
    into one that just closed. `write_seconds`: in which a caller takes nothing of its answer. `max_chunks`: of one
    body. `max_pipelined`: requests of one connection that wait for the one before. `max_connections`,
    `max_connections_per_address`: open at once; an address is an IPv4 address or an IPv6 network of 64 bits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_header_bytes: int = Field(32 * 1024, gt=0)
    max_headers: int = Field(128, gt=0)
    max_url_bytes: int = Field(8 * 1024, gt=0)
    head_seconds: int = Field(10, gt=0)
    body_seconds: int = Field(20, gt=0)
    min_body_rate: int = Field(1024, gt=0)
    idle_seconds: int = Field(75, gt=0)
    write_seconds: int = Field(30, gt=0)
    max_chunks: int = Field(16 * 1024, gt=0)
    max_pipelined: int = Field(64, gt=0)
    max_connections: int = Field(8192, gt=0)
    max_connections_per_address: int = Field(4096, gt=0)


DEFAULT_LIMITS = LimitSettings.model_validate({})
