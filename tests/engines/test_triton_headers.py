"""Headers of the settings go with all that another server is asked."""

from typing import Any

import grpc
import numpy as np
from aiohttp import web
from tritonclient.grpc import service_pb2
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceServicer, add_GRPCInferenceServiceServicer_to_server

from engines.calls import Question
from engines.remote_model import Address
from engines.triton_grpc import GrpcModel
from engines.triton_http import HttpModel
from engines.triton_settings import TritonSettings

HEADERS = (("Authorization", "Bearer key"), ("X-Tenant", "a"))
QUESTION = Question("m", {"x": np.zeros(1, np.float32)})


def settings(address: Address) -> TritonSettings:
    return TritonSettings((address,), None, 5.0, "m", "", 1, 9, b"", 30.0, HEADERS)


class Servicer(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Notes what came with each call."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    def _note(self, context: Any) -> None:
        self.seen.append(dict(context.invocation_metadata()))

    async def ModelReady(self, request: Any, context: Any) -> Any:
        self._note(context)
        return service_pb2.ModelReadyResponse(ready=True)

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        self._note(context)
        return service_pb2.ModelConfigResponse()

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        self._note(context)
        return service_pb2.ModelInferResponse()

    async def ModelStreamInfer(self, requests: Any, context: Any) -> Any:
        self._note(context)
        yield service_pb2.ModelStreamInferResponse(infer_response=service_pb2.ModelInferResponse())


async def test_over_grpc() -> None:
    server, servicer = grpc.aio.server(), Servicer()
    add_GRPCInferenceServiceServicer_to_server(servicer, server)
    address = Address("grpc", False, "127.0.0.1", server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    model = GrpcModel(settings(address), address)
    await model.ready(5.0)
    await model.config(5.0)
    await model.infer(QUESTION, 5.0)
    assert [answer.final async for answer in model.stream(QUESTION, 5.0)] == [True]
    await model.close()
    await server.stop(None)
    assert [(seen["authorization"], seen["x-tenant"]) for seen in servicer.seen] == [("Bearer key", "a")] * 4


async def test_over_http() -> None:
    seen: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers["authorization"], request.headers["x-tenant"]))
        return web.json_response({"outputs": []} if request.method == "POST" else {})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = Address("http", False, "127.0.0.1", runner.addresses[0][1])
    model = HttpModel(settings(address), address)
    await model.ready(5.0)
    await model.config(5.0)
    await model.infer(QUESTION, 5.0)
    await model.close()
    await runner.cleanup()
    assert seen == [("Bearer key", "a")] * 3
