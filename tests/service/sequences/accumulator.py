"""An engine instance that adds up what it is given, in its own memory by slot and in implicit state, and watches what
a batcher of sequences may not do."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.config.pbtxt import parse
from engines.model_config import ModelConfig
from service.errors import BatchyardError
from service.responses import OneResponse
from service.types import ANYONE, InferRequest, InferResponse, Job, Prediction, Responses, SequenceStep, Tenant

CONFIG = """
backend: "identity" max_batch_size: 4
input { name: "x" data_type: TYPE_INT64 dims: [ 1 ] }
output { name: "own" data_type: TYPE_INT64 dims: [ 1 ] }
output { name: "kept" data_type: TYPE_INT64 dims: [ 1 ] }
sequence_batching { %s max_sequence_idle_microseconds: %d
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }
  control_input { name: "END" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } }
  control_input { name: "ID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
  %s }
"""
STATE = 'state { input_name: "before" output_name: "after" data_type: TYPE_INT64 dims: [ 1 ] }'


def config(strategy: str = "direct { }", idle: float = 60.0, state: str = STATE) -> ModelConfig:
    return parse(CONFIG % (strategy, idle * 1e6, state), source="config.pbtxt", folder=Path("m"))


@dataclass
class Faults:
    restarts: int = 0


class Accumulator:
    """`errors`: raised by the next requests, None for none. `hold`: answers wait for it. `delays`: turns of the event
    loop that the next answers take."""

    def __init__(self) -> None:
        self.pending = 0
        self.fault = ""
        self.faults = Faults()
        self.prediction = Prediction()
        self.errors: list[BatchyardError | None] = []
        self.delays: list[int] = []
        self.hold: asyncio.Event | None = None
        self.memory: dict[int, tuple[int, int]] = {}
        self.running: set[int] = set()
        self.most = 0
        self.jobs: list[Job] = []
        self.closed = False

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        return self.prediction

    async def infer(self, job: Job) -> InferResponse:
        assert job.slot not in self.running, "two requests of one sequence at once"
        self.running.add(job.slot)
        self.jobs.append(job)
        try:
            for _ in range(self.delays.pop() if self.delays else 0):
                await asyncio.sleep(0)
            if self.hold is not None:
                await self.hold.wait()
            if self.errors and (error := self.errors.pop(0)) is not None:
                raise error
            return self._answer(job)
        finally:
            self.running.remove(job.slot)

    def _answer(self, job: Job) -> InferResponse:
        part = {name: int(array[0, 0]) for name, array in job.parts[0].items()}
        if part["START"]:
            self.memory[job.slot] = (part["ID"], 0)
        name, total = self.memory[job.slot]
        assert name == part["ID"], f"sequence {part['ID']} is in the slot of {name}"
        self.memory[job.slot] = (name, total + part["x"])
        self.most = max(self.most, len(self.memory))
        own = self.memory[job.slot][1]
        if part["END"]:
            del self.memory[job.slot]
        after = part.get("before", 0) + part["x"]
        outputs = {"own": _tensor(own), "kept": _tensor(after), "after": _tensor(after)}
        return InferResponse("m", "1", outputs, "test")

    async def stream(self, job: Job) -> Responses:
        return OneResponse(await self.infer(job))

    async def close(self, grace: float) -> None:
        self.closed = True


def _tensor(value: int) -> np.ndarray:
    return np.array([[value]], np.int64)


def job(name: int, value: int, flags: str = "", deadline: float = float("inf"), outputs: tuple[str, ...] = ()) -> Job:
    """One request of a sequence. `flags`: "s" starts, "e" ends."""
    inputs = {"x": _tensor(value)}
    step = SequenceStep(name, "s" in flags, "e" in flags)
    request = InferRequest("m", inputs, outputs=outputs, deadline=deadline, sequence=step)
    return Job(request, (inputs,), (1,))


def sums(response: InferResponse | None) -> tuple[int, int]:
    """What the model added up itself, and by its state."""
    assert response is not None
    assert response.outputs.keys() == {"own", "kept"}
    return int(response.outputs["own"][0, 0]), int(response.outputs["kept"][0, 0])
