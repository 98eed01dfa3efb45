"""What is asked of a model whose connections are closed."""

from collections.abc import Awaitable, Callable

import pytest

from engines.calls import Question
from engines.errors import EngineUnreachableError
from engines.remote_model import Address, RemoteModel
from engines.triton_grpc import GrpcModel
from engines.triton_http import HttpModel
from engines.triton_settings import TritonSettings

QUESTION = Question("m", {})
ASKED: dict[str, Callable[[RemoteModel], Awaitable[object]]] = {
    "infer": lambda model: model.infer(QUESTION, 1.0),
    "stream": lambda model: anext(model.stream(QUESTION, 1.0)),
    "ready": lambda model: model.ready(1.0),
    "config": lambda model: model.config(1.0),
}


PAIRS = [(kind, asked) for kind in (GrpcModel, HttpModel) for asked in ASKED if (kind, asked) != (HttpModel, "stream")]


@pytest.mark.parametrize(("kind", "asked"), PAIRS)
async def test_it_cannot_be_reached(kind: type[GrpcModel | HttpModel], asked: str) -> None:
    address = Address("grpc" if kind is GrpcModel else "http", False, "127.0.0.1", 1)
    model = kind(TritonSettings((address,), None, 5.0, "m", "", 1, 9, b"", 30.0), address)
    for _ in range(2):
        await model.close()
    with pytest.raises(EngineUnreachableError, match="the connection was closed"):
        await ASKED[asked](model)
