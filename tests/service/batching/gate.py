"""A replica with its real threads over small engines that a test holds and releases; the event loop is the test's."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from threading import Event

import numpy as np

from engines.base import Outputs
from engines.batch import Batch
from engines.errors import ExecutionError, InvalidInputError
from engines.model_config import DynamicBatching
from engines.tensor import FP32, Signature, TensorSpec
from service.batching.batcher import Batcher
from service.batching.compose import Composer, StackComposer
from service.batching.cost import CostModel
from service.batching.record import BatchRecord
from service.batching.replica import Identity, LocalReplica
from service.cores import CoreBudget
from service.owner import open_owned
from service.types import InferRequest, InferResponse, Job

SPEC = TensorSpec("x", FP32, (1,))
STACKED = StackComposer(8)


class Gate:
    """An engine that doubles its input; holds a batch while the gate is shut; value -1 is poison, -2 a bad input."""

    signature = Signature((SPEC,), (SPEC,), 8)

    def __init__(self) -> None:
        self.open = Event()
        self.open.set()
        self.entered = Event()
        self.batches: list[list[float]] = []
        self.closed = 0

    def warm_up(self) -> None: ...

    def run(self, batch: Batch) -> Outputs:
        values = batch.inputs["x"][:, 0]
        self.batches.append(values.tolist())
        self.entered.set()
        self.open.wait(10)
        if -1 in values:
            raise ExecutionError("poison")
        if -2 in values:
            raise InvalidInputError("bad value -2")
        if -3 in values:
            return {"x": np.zeros((99, 1), np.float32)}
        return {"x": batch.inputs["x"] * 2}

    def close(self) -> None:
        self.closed += 1


def given(gate: Gate) -> Gate:
    return gate


@asynccontextmanager
async def replica(
    *gates: Gate, max_queue: int = 100, settings: DynamicBatching | None = None, composer: Composer = STACKED
) -> AsyncIterator[tuple[LocalReplica, list[BatchRecord]]]:
    records: list[BatchRecord] = []
    batcher = Batcher(composer, CostModel(), max_queue, len(gates), settings or DynamicBatching())
    engines = [open_owned("gate", partial(given, gate)) for gate in gates]
    identity = Identity("gate", "1", "test", 1)
    made = LocalReplica(identity, engines, batcher, CoreBudget(2), time.monotonic, records.append)
    try:
        yield made, records
    finally:
        for gate in gates:
            gate.open.set()
        await made.close(5.0)


def job(value: float, *, deadline: float = float("inf")) -> Job:
    inputs = {"x": np.array([[value]], np.float32)}
    return Job(InferRequest("gate", inputs, deadline=deadline), (inputs,), (1,))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the engine threads tell no event
            await asyncio.sleep(0.001)


def value_of(response: InferResponse) -> float:
    return float(response.outputs["x"][0, 0])


async def held(made: LocalReplica, gate: Gate) -> "asyncio.Task[InferResponse]":
    """Keeps the engine busy with one request, so that those after it share the next batch."""
    gate.open.clear()
    gate.entered.clear()
    first = asyncio.create_task(made.infer(job(0.5)))
    await until(gate.entered.is_set)
    return first
