"""Models for ensembles that answer when they are told to, and ensembles over them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from engines.config.pbtxt import parse
from engines.tensor import FP32, Array, Signature, TensorSpec
from service.ensembles.door import Door
from service.ensembles.ensemble import Ensemble
from service.errors import BatchyardError, NotFoundError
from service.responses import OneResponse
from service.types import InferRequest, InferResponse, Job, Offer, Prediction, Responses, Timing

Answers = Callable[[dict[str, Array]], Sequence[dict[str, Array]]]


def offer(inputs: str, outputs: str, batch: int = 8, decoupled: bool = False, dims: tuple[int, ...] = (2,)) -> Offer:
    """Of FP32 tensors, their names apart by spaces; those that end in ? are optional."""
    specs = [
        [TensorSpec(n.rstrip("?"), FP32, dims, optional="?" in n) for n in n_s.split()] for n_s in (inputs, outputs)
    ]
    return Offer(Signature(tuple(specs[0]), tuple(specs[1]), batch), decoupled, batch)


class Model:
    """Gives `answers` to what it gets. `hold`: waits for it first. `fails`: raised instead."""

    def __init__(self, offer: Offer, answers: Answers, seconds: float = 0.0) -> None:
        self.offer = offer
        self.asked: list[InferRequest] = []
        self.hold: asyncio.Event | None = None
        self.fails: BatchyardError | None = None
        self.cancelled = 0
        self.closed = 0
        self.ended = 0
        self.parameters: Mapping[str, bool | int | float | str] = {}
        self._answers = answers
        self._seconds = seconds

    async def answers(self, request: InferRequest) -> list[InferResponse]:
        self.asked.append(request)
        try:
            if self.hold:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails:
            raise self.fails
        timing = Timing(0.0, self._seconds, 1, actual=self._seconds)
        found = self._answers(request.inputs)
        return [
            InferResponse(request.model, "1", dict(one), request.model, timing, parameters=self.parameters, final=False)
            for one in found
        ]


class Told:
    """The answers of a decoupled model, then word that it is over."""

    def __init__(self, model: Model, request: InferRequest) -> None:
        self._model = model
        self._request = request
        self._left: list[InferResponse] | None = None

    async def read(self) -> InferResponse | None:
        if self._left is None:
            self._left = [*await self._model.answers(self._request), InferResponse("", "", {}, final=True)]
        found = self._left.pop(0) if self._left else None
        self._model.ended += found is None or found.final
        return found

    def close(self) -> None:
        self._model.closed += 1


class World:
    """Models by name, and a door to them."""

    def __init__(self, **models: Model) -> None:
        self.models = models
        self.faults: dict[str, str] = {}
        self.predictions: dict[str, Prediction] = {}

    def __getitem__(self, name: str) -> Model:
        return self.models[name]

    async def infer(self, request: InferRequest) -> InferResponse:
        if request.model not in self.models:
            raise NotFoundError(f"no model {request.model!r}")
        (response,) = await self.models[request.model].answers(request)
        return response

    async def stream(self, request: InferRequest) -> Responses:
        model = self.models[request.model]
        return Told(model, request) if model.offer.decoupled else OneResponse(await self.infer(request))

    def ensemble(self, config: str) -> Ensemble:
        """`config`: its config.pbtxt without the platform."""
        text = f'platform: "ensemble"\n{config}'
        door = Door(
            self.infer,
            self.stream,
            lambda name: self.faults.get(name, ""),
            lambda name, cost, deadline, tenant: self.predictions.get(name, Prediction()),
            lambda name, version: self.models[name].offer if name in self.models else None,
        )
        return Ensemble(parse(text, source="config.pbtxt", folder=Path("model_repository/chain")), "1", door)


def tensors(inputs: str, outputs: str, batch: int = 8, dims: str = "2") -> str:
    """The head of a config.pbtxt; names apart by spaces, those that end in ? are optional."""
    lines = [f"max_batch_size: {batch}"]
    for kind, names in (("input", inputs), ("output", outputs)):
        for name in names.split():
            more = "optional: true" if "?" in name else ""
            lines.append(f'{kind} {{ name: "{name.rstrip("?")}" data_type: TYPE_FP32 dims: [ {dims} ] {more} }}')
    return "\n".join(lines) + "\n"


def steps(*lines: str) -> str:
    """Steps written `model i=X j=Y -> o=Z`."""
    made = []
    for line in lines:
        left, _, right = line.partition("->")
        model, *inputs = left.split()
        maps = [
            (kind, *pair.split("=")) for kind, pairs in (("input", inputs), ("output", right.split())) for pair in pairs
        ]
        text = " ".join(f'{kind}_map {{ key: "{key}" value: "{value}" }}' for kind, key, value in maps)
        made.append(f'step {{ model_name: "{model}" model_version: -1 {text} }}')
    return f"ensemble_scheduling {{ {' '.join(made)} }}\n"


def row(*values: float) -> Array:
    return np.array([values], np.float32)


def asking(*outputs: str, **inputs: Array) -> Job:
    request = InferRequest("chain", dict(inputs), outputs=outputs, deadline=9.0)
    return Job(request, (), ())


async def until(condition: Callable[[], bool]) -> None:
    """Lets the others run until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
