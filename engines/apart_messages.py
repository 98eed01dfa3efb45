"""What an engine's own process and this one say to each other."""

from typing import Literal

import numpy as np
from msgspec import Struct

from engines import Backend
from engines.generation import Feature
from engines.text_generator import GenerationRequest, GeneratorLimits, Grammar, RequestId, Sampling, TokenEvent


class Open(Struct, tag=True):
    """The first command: `folder` of the model's version, its config.pbtxt, and `EngineOptions`.

    `contents`: what of `backend` is to run in the process.
    """

    contents: Literal["engine", "generator"]
    backend: Backend
    folder: str
    config: str
    device: str
    threads: int


class WarmUp(Struct, tag=True):
    """Warms the engine up."""


class Run(Struct, tag=True):
    """Runs the batch whose inputs come with it."""

    size: int


class Add(Struct, tag=True):
    """Adds a request under an id of the sender's. Answered where it fails only, so the next step finds that answer.

    `prompt`: INT64 [tokens], little endian.
    """

    request_id: RequestId
    prompt: bytes
    sampling: Sampling
    grammar: Grammar | None

    @classmethod
    def of(cls, request_id: RequestId, request: GenerationRequest) -> "Add":
        """The message of a request."""
        return cls(request_id, request.prompt.astype("<i8").tobytes(), request.sampling, request.grammar)

    def request(self) -> GenerationRequest:
        """The request of a message."""
        return GenerationRequest(np.frombuffer(self.prompt, "<i8").astype(np.int64), self.sampling, self.grammar)


class Cancel(Struct, tag=True):
    """Cancels a request; it is not answered."""

    request_id: RequestId


class Step(Struct, tag=True):
    """Runs a step."""


Command = Open | WarmUp | Run | Add | Cancel | Step


class Ready(Struct, tag=True):
    """The generator is open. `vocabulary`: token ids are below it."""

    limits: GeneratorLimits
    features: list[Feature]
    vocabulary: int


class Done(Struct, tag=True):
    """A command without a result was done."""


class WarmedUp(Struct, tag=True):
    """The engine is warm, and then ran its largest warm-up batch, of `elements` in all inputs, in `seconds`.

    Both are 0 where it has no such batch.
    """

    seconds: float
    elements: int


class Ran(Struct, tag=True):
    """A batch ran; its outputs come with this."""


class Stepped(Struct, tag=True):
    """What a step brought."""

    events: list[TokenEvent]


class Failed(Struct, tag=True):
    """A command failed. `kind`: the name of a class of `engines.errors`."""

    kind: str
    message: str


Answer = Ready | Done | WarmedUp | Ran | Stepped | Failed
