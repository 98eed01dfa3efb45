"""The gateway's two doors, as small as they can be, for tests of what a pipeline asks them and what it makes of it."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from engines.generation import Chat, Delta, Event, Finish, GenerationCall, Message, Options, Usage
from service.errors import BatchyardError
from service.generating import GenerateRequest, GenerationTiming
from service.pipelines.pipeline import Doors, Pipeline
from service.pipelines.policies import Policies, Policy
from service.settings import PipelineSettings
from service.types import (
    DIRECT,
    NO_PREDICTION,
    NOT_CACHED,
    Cached,
    InferRequest,
    InferResponse,
    Prediction,
    Routed,
    Tenant,
)

CARDS = Policy(name="cards", intents=["lost_card", "new_card"], text="Cards are free.")
PINS = Policy(name="pins", intents=["pin"], text="PINs are in the app.")
POLICIES = {intent: policy for policy in (CARDS, PINS) for intent in policy.intents}


class Answer:
    """A generation of two pieces; `closed` tells whether it was closed."""

    model, version, engine = "writer", "7", "echo"
    metadata: Mapping[str, str] = MappingProxyType({})
    routed: Routed = DIRECT
    cached: Cached = NOT_CACHED

    def __init__(self) -> None:
        self.timing = GenerationTiming(queue=0.5, first_token=2.0, per_token=0.1)
        self.closed = False
        self._left: list[Sequence[Event]] = [(Delta(0, "Hello"),), (Finish(0, "stop"), Usage(3, 1))]

    async def read(self) -> Sequence[Event]:
        return self._left.pop(0) if self._left else ()

    def close(self) -> None:
        self.closed = True


class TwoDoors:
    """Classifies by `labels` and `confidences`, one a text; raises `trouble` where it is set. Remembers what it got."""

    def __init__(self) -> None:
        self.labels, self.confidences = ["lost_card"], [0.78312]
        self.trouble: BatchyardError | None = None
        self.fault = ""
        self.policies: Policies = POLICIES
        self.now = 0.0
        self.classified: list[InferRequest] = []
        self.asked: list[GenerateRequest] = []
        self.answer = Answer()
        self.entered = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self.cancelled = False

    async def infer(self, request: InferRequest) -> InferResponse:
        self.classified.append(request)
        self.entered.set()
        self.now += 0.25
        if self.hold is not None:
            await self._wait(self.hold)
        if self.trouble is not None:
            raise self.trouble
        labels = np.array([label.encode() for label in self.labels], object).reshape(-1, 1)
        confidences = np.array(self.confidences, np.float32).reshape(-1, 1)
        return InferResponse("topic", "1", {"label": labels, "confidence": confidences}, "linear")

    async def _wait(self, hold: asyncio.Event) -> None:
        try:
            await hold.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def generate(self, request: GenerateRequest) -> Answer:
        self.asked.append(request)
        return self.answer

    def fault_of(self, name: str) -> str:
        return self.fault if name == "writer" else "unknown model"

    def predict_of(self, name: str, cost: int, deadline: float, tenant: Tenant) -> Prediction:
        return Prediction(1.0, 2.0, 3.0 * cost) if name == "writer" else NO_PREDICTION

    def pipeline(self, **changes: object) -> Pipeline:
        """A pipeline over these doors. `changes`: of its settings."""
        written = {"model": "writer", "classifier": "topic", "system": "Be brief.\n", "policies": Path("p.toml")}
        settings = PipelineSettings.model_validate(written | changes)
        doors = Doors(self.infer, self.generate, self.fault_of, lambda: self.now, self.predict_of)
        return Pipeline("help-desk", settings, self.policies, doors)

    @property
    def messages(self) -> tuple[Message, ...]:
        """What the writer got last."""
        (chat,) = self.asked[-1].call.prompts
        assert isinstance(chat, Chat)
        return chat.messages


def asking(*messages: Message, deadline: float = 9.0, priority: int = 2) -> GenerateRequest:
    """A chat sent to the pipeline."""
    call = GenerationCall((Chat(messages),), Options(max_tokens=5))
    return GenerateRequest("help-desk", call, version="1", id="a", deadline=deadline, priority=priority)


def user(text: str) -> Message:
    return Message("user", text)
