"""The HTTP surface: Open Inference Protocol v2 and OpenAI over one gateway."""

import time

from fastapi import Depends, FastAPI, Request, Response
from starlette.routing import Route

from service.api.endpoint import HotEndpoint
from service.api.errors import openai_shape, v2_shape
from service.api.fallback import Fallback
from service.api.headers import request_id_source
from service.api.limits import Limits
from service.api.openai_embeddings import Embeddings
from service.api.openai_models import OpenAIModels
from service.api.openapi import EMBEDDINGS_PATH, INFER_PATHS, document
from service.api.v2_control import V2Control
from service.api.v2_infer import Infer
from service.gateway import Gateway

__all__ = ["Limits", "mount"]


def mount(app: FastAPI, gateway: Gateway, limits: Limits) -> None:
    """Adds every path of the HTTP surface to `app`, the hot ones before all others, and takes over its errors."""
    request_id = request_id_source()

    async def stamp(request: Request, response: Response) -> None:
        response.headers["x-request-id"] = request_id(dict(request.scope["headers"])).decode()

    infer = HotEndpoint(Infer(gateway, limits), v2_shape, request_id)
    embeddings = HotEndpoint(Embeddings(gateway, limits), openai_shape, request_id)
    hot = [Route(path, infer, methods=["POST"]) for path in INFER_PATHS]
    hot.append(Route(EMBEDDINGS_PATH, embeddings, methods=["POST"]))
    app.router.routes[:0] = hot
    for router in (V2Control(gateway, limits).routes(), OpenAIModels(gateway, int(time.time())).routes()):
        app.include_router(router, dependencies=[Depends(stamp)])
    Fallback(request_id).install(app)
    document(app)
