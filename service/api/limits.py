"""What the HTTP surface allows one caller."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request.

    `max_body_bytes`: body size in bytes, as sent and as inflated. `max_json_bytes`: of it, what is JSON: nobody else is
    served while it is decoded. `default_timeout`: seconds a request may take where
    the caller sets no deadline, inf for no limit. `disconnect_delay`: seconds an answer may take before the connection
    is watched for the caller leaving. `compress_above`: smallest body in bytes that is worth compressing.
    `thread_above`: bytes from which (de)compressing moves to a thread. `max_embedding_inputs`: texts of one embeddings
    request. `generation_timeout`: `default_timeout` of requests that generate text. `heartbeat`: seconds after which a
    stream without news sends a comment. `max_generation_bytes`: body size of a request that generates text; a million
    tokens fit, and decoding it holds nobody up. `max_answers`: prompts times `n` of one request. `forward`: headers
    whose names it finds become parameters of the model; None forwards none.
    """

    max_body_bytes: int = 64 * 1024 * 1024
    max_json_bytes: int = 8 * 1024 * 1024
    default_timeout: float = 30.0
    disconnect_delay: float = 0.005
    compress_above: int = 4096
    thread_above: int = 128 * 1024
    max_embedding_inputs: int = 2048
    generation_timeout: float = 600.0
    heartbeat: float = 10.0
    max_generation_bytes: int = 4 * 1024 * 1024
    max_answers: int = 1024
    forward: re.Pattern[str] | None = None
