"""The control plane of the Open Inference Protocol: health, metadata, config, repository index."""

from importlib.metadata import version as installed_version
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from engines.config.pbtxt import to_json
from engines.tensor import Signature, TensorSpec
from service.api.body import read_body
from service.api.errors import NOT_READY
from service.api.limits import Limits
from service.api.operations import Operations
from service.api.v2_answers import (
    IndexEntry,
    IndexQuery,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
    TensorMetadata,
    index_entries,
)
from service.errors import InvalidRequestError, ModelUnavailableError, NotFoundError
from service.gateway import Gateway

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "schedule_policy")
"""Triton's names of the extensions that are always served."""
REPOSITORY_EXTENSION = "model_repository"
"""Of which the index alone is served where models cannot be loaded and unloaded."""


_INDEX_BODY = {"schema": {"type": "object", "properties": {"ready": {"type": "boolean", "default": False}}}}
_INDEX_DOCUMENT = {"requestBody": {"content": {"application/json": _INDEX_BODY}}}


class V2Control:
    """Answers the control plane from what the gateway knows of its models."""

    def __init__(self, gateway: Gateway, operations: Operations, limits: Limits) -> None:
        self._gateway = gateway
        self._stopping = operations.stopping
        self._extensions = (*EXTENSIONS, REPOSITORY_EXTENSION) if operations.repository else EXTENSIONS
        self._limits = limits

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
        return ServerMetadata("batchyard", installed_version("batchyard"), self._extensions)

    async def live(self) -> Live:
        """Always true: a server that is not alive does not answer."""
        return Live(True)

    async def ready(self, response: Response) -> Ready:
        """True while any model can answer, or where there are none: a bad model does not take the others down.

        False from the moment on that the server is told to stop.
        """
        models = self._gateway.models()
        ready = not self._stopping.begun and (not models or any(model.ready for model in models))
        if not ready:
            response.status_code = NOT_READY
        return Ready(ready)

    async def model_ready(self, response: Response, model: str, version: str = "") -> ModelReady:
        """True where the model can answer, and the server is not about to stop."""
        info = self._gateway.model(model, version)
        ready = info.ready and not self._stopping.begun
        if not ready:
            response.status_code = NOT_READY
        return ModelReady(info.name, ready)

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
        info = self._gateway.model(model, version)
        if info.config is not None:
            return to_json(info.config)
        if info.variants:
            raise NotFoundError(
                f"{model!r} is a route over {', '.join(info.variants)}; ask for the config of one of them"
            )
        raise ModelUnavailableError(f"the config of model {model!r} cannot be read: {info.reason}")

    async def index(self, request: Request) -> list[IndexEntry]:
        """All models of the repository with their state, the unavailable ones with the reason."""
        headers = dict(request.scope["headers"])
        only_ready = _decode_query(await read_body(request.receive, headers, self._limits)).ready
        models = [m for m in self._gateway.models() if not m.variants and (m.ready or not only_ready)]
        return [entry for model in models for entry in index_entries(model)]


def _decode_query(body: bytes) -> IndexQuery:
    """Clients send no body at all, or one without a content type."""
    try:
        return msgspec.json.decode(body, type=IndexQuery) if body else IndexQuery()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"the index query is not right: {error}") from None


def _tensor(spec: TensorSpec, signature: Signature) -> TensorMetadata:
    batch = [-1] if signature.max_batch_size else []
    return TensorMetadata(spec.name, spec.datatype.name, [*batch, *spec.shape])
