"""Engines that take requests one by one, as tests need them, and a replica of them with its real threads."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

import numpy as np

from engines.calls import Call, CallEngine, Response
from engines.errors import EngineError, EngineLostError, ExecutionError, InvalidInputError, ModelAnsweredError
from engines.tensor import FP32, Signature, Tensors, TensorSpec
from service.batching.batcher import Batcher
from service.batching.compose import Composer, StackComposer
from service.batching.cost import CostModel
from service.batching.record import BatchRecord
from service.batching.replica import Identity, LocalReplica
from service.cores import CoreBudget
from service.owner import open_owned
from service.types import InferRequest, Job, Responses, SequenceStep

SPEC = TensorSpec("x", FP32, (1,))
SIGNATURE = Signature((SPEC,), (SPEC,), 8)
BAD, WRONG, INVALID, SHAPE, LOST, RAISES, CANCELLED, DTYPE = -1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0


def value(tensors: Tensors) -> float:
    return float(tensors["x"][0, 0])


def answer(number: float, *, final: bool = True, **parameters: bool | int | float | str) -> Response:
    return Response({"x": np.array([[number]], np.float32)}, parameters, final)


class Doubling:
    """Answers each call at once, or with the error that its value asks for; holds a batch while the gate is shut."""

    signature = SIGNATURE

    def __init__(self) -> None:
        self.open = Event()
        self.open.set()
        self.calls: list[list[Call]] = []
        self.closed = 0

    def warm_up(self) -> None: ...

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        self.calls.append(list(calls))
        self.open.wait(10)
        numbers = [value(call.inputs) for call in calls]
        if RAISES in numbers:
            raise ExecutionError("Failed to process the request(s)")
        if LOST in numbers:
            raise EngineLostError("the process was killed")
        return [_answer(number) for number in numbers]

    def close(self) -> None:
        self.closed += 1


def _answer(number: float) -> Response:
    errors: dict[float, EngineError] = {
        BAD: ExecutionError("fails"),
        WRONG: ModelAnsweredError("not this", "INTERNAL"),
        INVALID: InvalidInputError("bad value"),
        CANCELLED: ModelAnsweredError("seen that nobody waits", "CANCELLED"),
    }
    if number in errors:
        return Response(error=errors[number])
    if number == SHAPE:
        return Response({"x": np.zeros((1, 2), np.float32)})
    if number == DTYPE:
        return Response({"x": np.zeros((1, 1), np.float64)})
    return answer(2 * number, told="yes")


class Later:
    """Leaves its calls open; a test answers them by `respond` from a thread of its own."""

    signature = SIGNATURE

    def __init__(self) -> None:
        self.open: list[Call] = []
        self.lost: EngineLostError | None = None
        self.closed = 0

    def warm_up(self) -> None: ...

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        if self.lost is not None:
            raise EngineLostError(str(self.lost), idle=True)
        self.open += calls
        return [None] * len(calls)

    def respond(self, number: int, *responses: Response) -> None:
        def say() -> None:
            for response in responses:
                self.open[number].respond(response)

        thread = Thread(target=say)
        thread.start()
        thread.join(10)

    def lose(self) -> None:
        """The process that runs it ends: all open calls hear of it."""
        self.lost = EngineLostError("the process ended")
        for number in range(len(self.open)):
            self.respond(number, Response(error=self.lost))

    def close(self) -> None:
        self.closed += 1
        for number in range(len(self.open)):
            self.respond(number, Response(error=ExecutionError("the model was unloaded")))


@dataclass
class Makes:
    """Opens engines one after the other, as they are given."""

    engines: list[CallEngine]
    made: list[CallEngine] = field(default_factory=list)

    def open(self) -> CallEngine:
        self.made.append(self.engines[len(self.made)])
        return self.made[-1]


@asynccontextmanager
async def replica(
    *engines: CallEngine,
    instances: int = 1,
    decoupled: bool = False,
    max_queue: int = 100,
    stream_buffer: int = 8,
    grace: float = 5.0,
    composer: Composer | None = None,
    name: str = "calls",
) -> AsyncIterator[tuple[LocalReplica, list[BatchRecord]]]:
    """Of `instances` engines; the rest of `engines` are opened where one is lost."""
    records: list[BatchRecord] = []
    batcher = Batcher(composer or StackComposer(8), CostModel(), max_queue, instances)
    makes = Makes(list(engines))
    owned = [open_owned("calls", makes.open) for _ in range(instances)]
    identity = Identity(name, "1", "python", 1, decoupled=decoupled)
    made = LocalReplica(identity, owned, batcher, CoreBudget(2), time.monotonic, records.append, stream_buffer)
    try:
        yield made, records
    finally:
        await made.close(grace)


def job(
    number: float, *, deadline: float = float("inf"), sequence: SequenceStep | None = None, timeout: int = 0
) -> Job:
    inputs = {"x": np.array([[number]], np.float32)}
    parameters: dict[str, bool | int | float | str] = {"color": "red"}
    request = InferRequest(
        "calls", inputs, "1", ("x",), "id-7", deadline, 2, parameters, sequence=sequence, timeout=timeout
    )
    return Job(request, (inputs,), (1,))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the engine threads tell no event
            await asyncio.sleep(0.001)


async def read_all(responses: Responses) -> list[tuple[float | None, bool]]:
    """The values of all answers, None where one holds no outputs, and whether it was final."""
    found = []
    while (response := await responses.read()) is not None:
        found.append((value(response.outputs) if response.outputs else None, response.final))
    return found
