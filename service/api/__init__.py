"""The HTTP surface: Open Inference Protocol v2 and OpenAI over one gateway."""

import time
from functools import partial

from fastapi import Depends, FastAPI, Request, Response
from starlette.routing import Route

from service.access.accounts import Accounts
from service.api.endpoint import AnswerCall, HotEndpoint
from service.api.errors import Shape, openai_shape, v2_shape
from service.api.fallback import Fallback
from service.api.headers import RequestIds, request_id_source
from service.api.hot_paths import HotPaths
from service.api.key_check import KeyCheck
from service.api.limits import Limits
from service.api.manner import MANNERS, Manner, own_manner
from service.api.openai_chat import understand_chat
from service.api.openai_completions import understand_completion
from service.api.openai_embeddings import Embeddings
from service.api.openai_generation import OpenAIGeneration
from service.api.openai_models import OpenAIModels
from service.api.openapi import EMBEDDINGS_PATH, INFER_PATHS, document
from service.api.openapi_generation import CHAT_PATH, COMPLETIONS_PATH, GENERATE_PATHS, GENERATE_STREAM_PATHS
from service.api.openapi_keys import document_keys
from service.api.operations import Operations
from service.api.reply import NO_SNIFFING
from service.api.usage import UsagePath
from service.api.v2_control import V2Control
from service.api.v2_generate import Generate, GenerateStream
from service.api.v2_infer import Infer
from service.api.v2_repository import V2Repository
from service.api.v2_settings import V2Settings
from service.api.v2_shared_memory import V2SharedMemory
from service.api.v2_statistics import V2Statistics
from service.gateway import Gateway

__all__ = ["MANNERS", "Limits", "Manner", "Operations", "mount", "own_manner"]


def mount(
    app: FastAPI,
    gateway: Gateway,
    limits: Limits,
    operations: Operations | None = None,
    manner: Manner | None = None,
    accounts: Accounts | None = None,
) -> None:
    """Adds every path of the HTTP surface to `app`, the hot ones before all others, and takes over its errors.

    `accounts`: None lets anybody in.
    """
    operations = operations or Operations()
    manner = manner or own_manner()
    request_id = request_id_source()

    async def stamp(request: Request, response: Response) -> None:
        told = (b"x-request-id", request_id(dict(request.scope["headers"])))
        response.raw_headers += [told, NO_SNIFFING]

    hot = _hot_routes(gateway, limits, request_id, manner)
    app.router.routes[:0] = hot
    app.add_middleware(HotPaths, hot)
    for router in (
        V2Statistics(gateway).routes(),
        V2Settings(gateway, operations, limits).routes(),
        V2SharedMemory(manner).routes(),
        V2Control(gateway, operations, limits, manner).routes(),
        V2Repository(gateway, operations, limits, manner).routes(),
        OpenAIModels(gateway, int(time.time())).routes(),
    ):
        app.include_router(router, dependencies=[Depends(stamp)])
    Fallback(request_id, manner.words).install(app)
    document(app)
    if accounts is not None:
        app.include_router(UsagePath(accounts).routes(), dependencies=[Depends(stamp)])
        app.add_middleware(KeyCheck, accounts, request_id, manner.words)
        document_keys(app)


def _hot_routes(gateway: Gateway, limits: Limits, request_id: RequestIds, manner: Manner) -> list[Route]:
    v2, openai = v2_shape(manner.words), openai_shape()
    understand = partial(understand_completion, most_answers=limits.max_answers)
    chat = OpenAIGeneration(gateway, limits, understand_chat, "messages")
    completions = OpenAIGeneration(gateway, limits, understand, "prompt")
    endpoints: list[tuple[str, AnswerCall, Shape]] = [
        *[(path, Infer(gateway, limits, manner), v2) for path in INFER_PATHS],
        (EMBEDDINGS_PATH, Embeddings(gateway, limits), openai),
        (CHAT_PATH, chat, openai),
        (COMPLETIONS_PATH, completions, openai),
        *[(path, Generate(gateway, limits), v2) for path in GENERATE_PATHS],
        *[(path, GenerateStream(gateway, limits), v2) for path in GENERATE_STREAM_PATHS],
    ]
    return [Route(path, HotEndpoint(answer, shape, request_id), methods=["POST"]) for path, answer, shape in endpoints]
