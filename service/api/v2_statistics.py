"""GET /v2/models[/{model}[/versions/{version}]]/stats: Triton's statistics extension."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from service.gateway import Gateway
from service.telemetry.statistics import BatchStatistics, Duration, ModelStatistics, ResponseStatistics


class V2Statistics:
    """Tells what models count, in Triton's words and order."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> APIRouter:
        """The three paths. Add them before those of models: `stats` is no model's name here."""
        router = APIRouter(prefix="/v2/models", tags=["Open Inference Protocol v2"])
        router.get("/stats", summary="Statistics of all models")(self.all)
        for path in ("/{model}/stats", "/{model}/versions/{version}/stats"):
            router.get(path, summary="Statistics of a model")(self.one)
        return router

    async def all(self) -> dict[str, Any]:
        """Requests, batches and times (ns) of every version that is open."""
        return _told(self._gateway.statistics())

    async def one(self, model: str, version: str = "") -> dict[str, Any]:
        """Requests, batches and times (ns) of the versions of one model; of a route, of its variants."""
        return _told(self._gateway.statistics(model, version))


def _told(found: Sequence[ModelStatistics]) -> dict[str, Any]:
    return {"model_stats": [_model(one) for one in found]}


def _model(one: ModelStatistics) -> dict[str, Any]:
    return {
        "name": one.name,
        "version": one.version,
        "last_inference": one.last_inference,
        "inference_count": one.inference_count,
        "execution_count": one.execution_count,
        "inference_stats": {
            "success": _duration(one.success),
            "fail": _duration(one.fail),
            "queue": _duration(one.queue),
            "compute_input": _duration(one.compute_input),
            "compute_infer": _duration(one.compute_infer),
            "compute_output": _duration(one.compute_output),
            "cache_hit": _duration(one.cache_hit),
            "cache_miss": _duration(one.cache_miss),
        },
        "response_stats": {number: _response(responses) for number, responses in one.responses.items()},
        "batch_stats": [_batch(batch) for batch in one.batches.values()],
        "memory_usage": [],
    }


def _response(responses: ResponseStatistics) -> dict[str, Any]:
    return {
        "compute_infer": _duration(responses.compute_infer),
        "compute_output": _duration(responses.compute_output),
        "success": _duration(responses.success),
        "fail": _duration(responses.fail),
        "empty_response": _duration(responses.empty_response),
        "cancel": _duration(responses.cancel),
    }


def _batch(batch: BatchStatistics) -> dict[str, Any]:
    return {
        "batch_size": batch.batch_size,
        "compute_input": _duration(batch.compute_input),
        "compute_infer": _duration(batch.compute_infer),
        "compute_output": _duration(batch.compute_output),
    }


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.ns}
