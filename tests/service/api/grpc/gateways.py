"""The gateway of the tests of the HTTP surface, with models that give any number of answers."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engines.config.pbtxt import parse
from engines.model_config import ModelConfig
from engines.tensor import INT32, Signature, TensorSpec
from service.errors import EngineFailedError, NotFoundError
from service.responses import OneResponse
from service.telemetry.statistics import BatchStatistics, Duration, ModelStatistics, ResponseStatistics
from service.types import InferRequest, InferResponse, Responses
from tests.service.api.models import TestGateway, identity, info

COUNTED = ModelStatistics(
    "identity",
    "2",
    1_700_000_000_123,
    7,
    3,
    success=Duration(5, 500),
    fail=Duration(1, 10),
    queue=Duration(5, 50),
    compute_input=Duration(5, 51),
    compute_infer=Duration(5, 52),
    compute_output=Duration(5, 53),
    cache_hit=Duration(2, 20),
    cache_miss=Duration(3, 30),
    batches={4: BatchStatistics(4, Duration(1, 11), Duration(1, 12), Duration(1, 13))},
    responses={"0": ResponseStatistics(Duration(1, 1), Duration(1, 2), Duration(1, 3), empty_response=Duration(1, 4))},
)

REPEAT = """
backend: "identity" max_batch_size: 0 model_transaction_policy { decoupled: true }
input [ { name: "IN" data_type: TYPE_INT32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] } ]
"""


class Repeated:
    """One answer for each element; a negative one fails. The end comes alone, as decoupled models of Triton send it."""

    def __init__(self, gateway: "GrpcGateway", request: InferRequest) -> None:
        self._gateway = gateway
        self._left = request.inputs["IN"].tolist()
        self._ended = False
        self.closed = False

    async def read(self) -> InferResponse | None:
        if self._ended:
            return None
        if not self._left:
            self._ended = True
            return InferResponse("repeat", "1", {}, final=True)
        value = self._left.pop(0)
        await asyncio.sleep(0.002)
        if value == self._gateway.never:
            await self._gateway.wait()
        if value < 0:
            self._ended = True
            raise EngineFailedError(f"there is no {value}")
        return InferResponse("repeat", "1", {"OUT": np.array([value], np.int32)}, final=False)

    def close(self) -> None:
        self.closed = True


class GrpcGateway(TestGateway):
    """`running`: requests that are in a model, by id, and `most` how many there were at once."""

    __test__ = False
    never = 2**31 - 1

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.streams: list[Repeated] = []
        self.running: list[str] = []
        self.most = 0
        tensors = (TensorSpec("IN", INT32, (-1,)),), (TensorSpec("OUT", INT32, (1,)),)
        self.add(info("repeat", Signature(*tensors), versions=("1",), config=_decoupled(folder)), identity)

    async def wait(self) -> None:
        """Never ends."""
        await self._never()

    async def stream(self, request: InferRequest) -> Responses:
        self.model(request.model, request.version)
        if request.model == "repeat":
            self.streams.append(Repeated(self, request))
            return self.streams[-1]
        self.running.append(request.id)
        self.most = max(self.most, len(self.running))
        try:
            if request.parameters.get("delay_ms"):
                await asyncio.sleep(float(request.parameters["delay_ms"]) / 1000)
            return OneResponse(await self.infer(request))
        finally:
            self.running.remove(request.id)

    def statistics(self, name: str = "", version: str = "") -> Sequence[ModelStatistics]:
        if name not in ("", COUNTED.name):
            raise NotFoundError(f"no model {name!r}")
        return [COUNTED]


def _decoupled(folder: Path) -> ModelConfig:
    home = folder / "repeat"
    home.mkdir(exist_ok=True)
    return parse(REPEAT.replace("identity", "python"), source="repeat/config.pbtxt", folder=home)
