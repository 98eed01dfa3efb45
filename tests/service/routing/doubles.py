"""Replicas that do as they are told, and a clock that stands still, for tests of who is asked and in which order."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from engines.calls import NO_PARAMETERS, Parameter
from engines.generation import Delta, Event, Finish, GenerationCall, Usage
from engines.tensor import FP32, Signature, TensorSpec
from service.catalog import Catalog, Model
from service.errors import BatchyardError
from service.gateway import Gateway
from service.generating import GenerateRequest, GenerationTiming
from service.intake import TensorIntake
from service.routing.policies import Policy, Variant, ordered
from service.routing.route import Route
from service.routing.served import Served
from service.telemetry.metrics import Metrics
from service.types import (
    ANYONE,
    DIRECT,
    NO_HINTS,
    NOT_CACHED,
    Cached,
    Hints,
    InferRequest,
    InferResponse,
    Job,
    Prediction,
    Routed,
    Tenant,
    Timing,
)

SIGNATURE = Signature((TensorSpec("IN", FP32, (-1,)),), (TensorSpec("OUT", FP32, (-1,)),), 64)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Text:
    """A generation of two pieces, or one that breaks after the first."""

    metadata: Mapping[str, str] = MappingProxyType({})
    routed: Routed = DIRECT
    cached: Cached = NOT_CACHED

    def __init__(self, name: str, breaks: BatchyardError | None) -> None:
        self.model, _, self.version = name.rpartition(":")
        self.engine = "double"
        self.timing = GenerationTiming()
        self._breaks = breaks
        self._left: list[Sequence[Event]] = [(Delta(0, name),), (Finish(0, "stop"), Usage(3, 1))]

    async def read(self) -> Sequence[Event]:
        if self._breaks and len(self._left) == 1:
            raise self._breaks
        return self._left.pop(0) if self._left else ()

    def close(self) -> None:
        self._left = []


class Double:
    """Answers with its input, or raises the next of `errors` (None: no error), the last one for good.

    `timing`, `parameters`, `routed`: of its answers. `hold`: answers wait for it. `middle`: raised by a generation
    after its first piece.
    """

    def __init__(self, name: str) -> None:
        self.name = f"{name}:1"
        self.fault = ""
        self.prediction = Prediction()
        self.timing = Timing()
        self.routed = DIRECT
        self.parameters: Mapping[str, Parameter] = NO_PARAMETERS
        self.errors: list[BatchyardError | None] = []
        self.middle: BatchyardError | None = None
        self.hold: asyncio.Event | None = None
        self.asked: list[InferRequest | GenerateRequest] = []
        self.costs: list[int] = []
        self.cancelled = 0

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        self.costs.append(cost)
        return self.prediction

    async def infer(self, job: Job) -> InferResponse:
        await self._told(job.request)
        outputs = {"OUT": job.request.inputs["IN"]}
        response = InferResponse(self.name[:-2], "1", outputs, "double", replace(self.timing), routed=self.routed)
        response.parameters = self.parameters
        return response

    async def generate(self, request: GenerateRequest) -> Text:
        await self._told(request)
        text = Text(self.name, self.middle)
        text.routed = self.routed
        return text

    async def _told(self, request: InferRequest | GenerateRequest) -> None:
        self.asked.append(request)
        if self.hold is not None:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        error = (self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]) if self.errors else None
        if error is not None:
            raise error

    async def close(self, grace: float) -> None:
        pass


class Setting:
    """A gateway over doubles: models by their names, and the route `both` over all of them."""

    def __init__(
        self, *names: str | Variant, policy: Policy = ordered, qualities: Sequence[float] = (), **route: object
    ):
        variants = [name if isinstance(name, Variant) else Variant(name) for name in names]
        self.clock = Clock()
        self.doubles = {variant.model: Double(variant.model) for variant in variants}
        self.catalog = Catalog(clock=self.clock)
        for number, (name, double) in enumerate(self.doubles.items()):
            quality = qualities[number] if qualities else 1.0
            served = Served(TensorIntake(SIGNATURE), double, quality=quality)
            self.catalog.models[name] = Model(name, versions={"1": served})
        details = {variant.model: variant for variant in variants}
        self.catalog.routes["both"] = Route("both", tuple(details), policy, details, **route)  # type: ignore[arg-type]
        self.metrics = Metrics()
        self.gateway = Gateway(self.catalog, self.metrics, self.clock)

    def __getitem__(self, name: str) -> Double:
        return self.doubles[name]

    @property
    def counts(self) -> list[int]:
        """How often each was asked."""
        return [len(double.asked) for double in self.doubles.values()]

    async def infer(self, model: str = "both", within: float = 10.0, **more: Any) -> InferResponse:
        return await self.gateway.infer(self.request(model, within, **more))

    def request(self, model: str = "both", within: float = 10.0, **more: Any) -> InferRequest:
        """One row. `within`: seconds until its deadline."""
        return InferRequest(model, {"IN": np.ones((1, 2), np.float32)}, deadline=self.clock() + within, **more)

    async def fail(self, kind: type[BatchyardError], model: str = "both", within: float = 10.0, **more: Any) -> Any:
        """The error of a request that is to fail."""
        with pytest.raises(kind) as caught:
            await self.infer(model, within, **more)
        assert type(caught.value) is kind
        return caught.value

    def generation(self, model: str = "both", within: float = 10.0, hints: Hints = NO_HINTS) -> GenerateRequest:
        call = GenerationCall(("tell me something",))
        return GenerateRequest(model, call, deadline=self.clock() + within, hints=hints)

    def series(self, start: str) -> list[str]:
        """Lines of the metrics that begin so."""
        return [line for line in self.metrics.exposition()[0].decode().splitlines() if line.startswith(start)]


async def until(condition: Callable[[], bool]) -> None:
    """Lets the others run until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
