"""GET /v2/models[/{model}[/versions/{version}]]/stats: Triton's statistics extension."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from service.api.statistics_form import told
from service.gateway import Gateway
from service.telemetry.statistics import ModelStatistics


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
    return {"model_stats": [told(one) for one in found]}
