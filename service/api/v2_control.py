"""The control plane of the Open Inference Protocol: health, metadata, config, repository index."""

from typing import Any

from fastapi import APIRouter, Request, Response

from engines.config.shown import to_json
from engines.tensor import Signature, TensorSpec
from service.api.callers import tenant_of
from service.api.known import config_of, extensions, repository_models, server_ready
from service.api.limits import Limits
from service.api.manner import Manner
from service.api.operations import Operations
from service.api.v2_answers import (
    IndexQuery,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
    TensorMetadata,
    index_answer,
)
from service.api.v2_bodies import read_json, stamped
from service.errors import NotFoundError
from service.gateway import Gateway

_INDEX_BODY = {"schema": {"type": "object", "properties": {"ready": {"type": "boolean", "default": False}}}}
_INDEX_DOCUMENT = {"requestBody": {"content": {"application/json": _INDEX_BODY}}}


class V2Control:
    """Answers the control plane from what the gateway knows of its models."""

    def __init__(self, gateway: Gateway, operations: Operations, limits: Limits, manner: Manner) -> None:
        self._gateway = gateway
        self._stopping = operations.stopping
        self._extensions = extensions(operations)
        self._limits = limits
        self._manner = manner

    def routes(self) -> APIRouter:
        """The control plane's paths."""
        router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])
        router.get("", summary="Server metadata")(self.server)
        router.get("/health/live", summary="Server live")(self.live)
        router.get("/health/ready", summary="Server ready (400: not ready)")(self.ready)
        for path in ("/models/{model}", "/models/{model}/versions/{version}"):
            router.get(path, summary="Model metadata")(self.metadata)
            router.get(f"{path}/ready", summary="Model ready (400: not ready)")(self.model_ready)
            router.get(f"{path}/config", summary="Model configuration")(self.config)
        router.post("/repository/index", summary="Models of the repository", openapi_extra=_INDEX_DOCUMENT)(self.index)
        return router

    async def server(self) -> ServerMetadata:
        """Name, version and extensions."""
        return ServerMetadata(self._manner.name, self._manner.version, self._extensions)

    async def live(self, response: Response) -> Response:
        """Always true: a server that is not alive does not answer."""
        return stamped(self._manner.health(Live(True), True), response)

    async def ready(self, response: Response) -> Response:
        """See `server_ready`."""
        ready = server_ready(self._gateway, self._stopping)
        return stamped(self._manner.health(Ready(ready), ready), response)

    async def model_ready(self, response: Response, model: str, version: str = "") -> Response:
        """True where the model can answer, and the server is not about to stop."""
        try:
            info = self._gateway.model(model, version)
        except NotFoundError as error:
            return stamped(self._manner.unknown(error), response)
        ready = info.ready and not self._stopping.begun
        return stamped(self._manner.model_health(ModelReady(info.name, ready), ready), response)

    async def metadata(self, model: str, version: str = "") -> ModelMetadata:
        """Versions, inputs and outputs."""
        info = self._gateway.model(model, version)
        signature = info.signature
        return ModelMetadata(
            info.name,
            info.versions,
            info.platform,
            [_tensor(spec, signature) for spec in signature.inputs],
            [_tensor(spec, signature) for spec in signature.outputs],
        )

    async def config(self, model: str, version: str = "") -> dict[str, Any]:
        """The model's config.pbtxt as JSON."""
        return to_json(config_of(self._gateway, model, version))

    async def index(self, request: Request) -> list[dict[str, str]]:
        """All models of the repository with their state, the unavailable ones with the reason."""
        query = await read_json(request, self._limits, IndexQuery)
        only_ready = query is not None and query.ready
        models = repository_models(self._gateway, only_ready, tenant_of(request.scope))
        return [entry for model in models for entry in index_answer(model)]


def _tensor(spec: TensorSpec, signature: Signature) -> TensorMetadata:
    batch = [-1] if signature.max_batch_size else []
    return TensorMetadata(spec.name, spec.datatype.name, [*batch, *spec.shape])
