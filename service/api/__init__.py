"""The HTTP surface: Open Inference Protocol v2 and OpenAI over one gateway."""

import time
from functools import partial

from fastapi import Depends, FastAPI, Request, Response
from starlette.routing import Route

from service.api.endpoint import AnswerCall, HotEndpoint
from service.api.errors import Shape, openai_shape, v2_shape
from service.api.fallback import Fallback
from service.api.headers import RequestIds, request_id_source
from service.api.limits import Limits
from service.api.openai_chat import understand_chat
from service.api.openai_completions import understand_completion
from service.api.openai_embeddings import Embeddings
from service.api.openai_generation import OpenAIGeneration
from service.api.openai_models import OpenAIModels
from service.api.openapi import EMBEDDINGS_PATH, INFER_PATHS, document
from service.api.openapi_generation import CHAT_PATH, COMPLETIONS_PATH, GENERATE_PATHS, GENERATE_STREAM_PATHS
from service.api.operations import Operations
from service.api.v2_control import V2Control
from service.api.v2_generate import Generate, GenerateStream
from service.api.v2_infer import Infer
from service.api.v2_repository import V2Repository
from service.gateway import Gateway

__all__ = ["Limits", "Operations", "mount"]


def mount(app: FastAPI, gateway: Gateway, limits: Limits, operations: Operations | None = None) -> None:
    """Adds every path of the HTTP surface to `app`, the hot ones before all others, and takes over its errors."""
    operations = operations or Operations()
    request_id = request_id_source()

    async def stamp(request: Request, response: Response) -> None:
        response.headers["x-request-id"] = request_id(dict(request.scope["headers"])).decode()

    app.router.routes[:0] = _hot_routes(gateway, limits, request_id)
    control = V2Control(gateway, operations, limits)
    repository = V2Repository(gateway, operations.repository, limits)
    for router in (control.routes(), repository.routes(), OpenAIModels(gateway, int(time.time())).routes()):
        app.include_router(router, dependencies=[Depends(stamp)])
    Fallback(request_id).install(app)
    document(app)


def _hot_routes(gateway: Gateway, limits: Limits, request_id: RequestIds) -> list[Route]:
    understand = partial(understand_completion, most_answers=limits.max_answers)
    chat = OpenAIGeneration(gateway, limits, understand_chat, "messages")
    completions = OpenAIGeneration(gateway, limits, understand, "prompt")
    endpoints: list[tuple[str, AnswerCall, Shape]] = [
        *[(path, Infer(gateway, limits), v2_shape) for path in INFER_PATHS],
        (EMBEDDINGS_PATH, Embeddings(gateway, limits), openai_shape),
        (CHAT_PATH, chat, openai_shape),
        (COMPLETIONS_PATH, completions, openai_shape),
        *[(path, Generate(gateway, limits), v2_shape) for path in GENERATE_PATHS],
        *[(path, GenerateStream(gateway, limits), v2_shape) for path in GENERATE_STREAM_PATHS],
    ]
    return [Route(path, HotEndpoint(answer, shape, request_id), methods=["POST"]) for path, answer, shape in endpoints]
