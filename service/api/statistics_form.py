"""Statistics of a model as Triton tells them: the same names and nesting by REST and by gRPC."""

from dataclasses import asdict
from typing import Any

from service.telemetry.statistics import ModelStatistics

_COUNTED = ("name", "version", "last_inference", "inference_count", "execution_count")
_REQUESTS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)


def told(model: ModelStatistics) -> dict[str, Any]:
    """In the order of Triton's JSON; as protobuf's JSON, it is the message ModelStatistics."""
    found = asdict(model)
    return {
        **{name: found[name] for name in _COUNTED},
        "inference_stats": {name: found[name] for name in _REQUESTS},
        "response_stats": found["responses"],
        "batch_stats": list(found["batches"].values()),
        "memory_usage": [],
    }
