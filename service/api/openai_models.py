"""GET /v1/models."""

from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request

from service.api.callers import tenant_of
from service.api.known import known_models, ready_signature
from service.gateway import Gateway


@dataclass(frozen=True, slots=True)
class Model:
    """A model or route that can be named in a request. `created`: when this server started, Unix seconds."""

    id: str
    created: int
    owned_by: str = "batchyard"
    object: Literal["model"] = "model"


@dataclass(frozen=True, slots=True)
class ModelList:
    """All of them."""

    data: list[Model]
    object: Literal["list"] = "list"


class OpenAIModels:
    """Lists what the gateway can answer for. `started`: Unix seconds."""

    def __init__(self, gateway: Gateway, started: int) -> None:
        self._gateway = gateway
        self._started = started

    def routes(self) -> APIRouter:
        """The two paths."""
        router = APIRouter(prefix="/v1", tags=["OpenAI"])
        router.get("/models", summary="List models")(self.list_models)
        router.get("/models/{model:path}", summary="Retrieve a model")(self.retrieve)
        return router

    async def list_models(self, request: Request) -> ModelList:
        """The models and routes that are ready, and that the caller may ask."""
        found = known_models(self._gateway, tenant_of(request.scope))
        return ModelList([Model(info.name, self._started) for info in found if info.ready])

    async def retrieve(self, model: str) -> Model:
        """One of them."""
        ready_signature(self._gateway, model)
        return Model(model, self._started)
