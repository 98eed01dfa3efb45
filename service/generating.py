"""What passes through the one door when text is generated: a request, and the answer as it comes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engines.generation import Event, GenerationCall
from service import triton_words
from service.errors import InvalidRequestError, UnsupportedError
from service.types import NO_HINTS, NO_PREDICTION, Cached, Hints, Prediction, Routed

MOST_ANSWERS = 128
"""To one prompt. These bounds hold for every protocol, and for whatever generates."""
MOST_STOPS = 16
LONGEST_STOP = 256
"""Characters."""
MOST_BIASES = 1024
"""Tokens that `logit_bias` may name."""
MOST_TOOLS = 128
LONGEST_SCHEMA = 128 * 1024
"""Characters or bytes of a JSON schema, before an engine looks at it."""

DEFAULT_PRIORITY = 0
URGENT = 1
FLEX = 3
"""Priorities of generated text; the default ranks between these two, as a class of its own."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One call as the caller made it, whatever its protocol.

    `version` "" is the newest served. `deadline`: seconds on the gateway's clock until which the whole answer is
    wanted, inf for none. `priority`: 1 is the most urgent, 0 the model's default.
    """

    model: str
    call: GenerationCall
    version: str = ""
    id: str = ""
    deadline: float = float("inf")
    priority: int = 0
    hints: Hints = NO_HINTS


@dataclass(slots=True)
class GenerationTiming:
    """Seconds: in the queue, until the first token came (queue included), and between tokens after it, on average.

    `predicted`: when the first token would come, as it was thought when the request was taken. `engine_seconds`: its
    own share of all steps that it was in.
    """

    queue: float = 0.0
    first_token: float = 0.0
    per_token: float = 0.0
    predicted: Prediction = NO_PREDICTION
    engine_seconds: float = 0.0


class Generation(Protocol):
    """An accepted request on its way: the caller's end of it. Used on the event loop, by one task."""

    model: str
    version: str
    engine: str
    routed: Routed
    cached: Cached

    @property
    def timing(self) -> GenerationTiming:
        """What is known so far."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What a pipeline found out about the request, to be shown to the caller."""

    async def read(self) -> Sequence[Event]:
        """All events that came since the last call, waiting for the first; () after `Usage`, which is always the last.

        Raises `service.errors.BatchyardError`, after which nothing follows.
        """

    def close(self) -> None:
        """Ends it: what is not generated yet never will be. To be called in every case; may be called twice."""


def cannot_generate(name: str) -> InvalidRequestError:
    """The error of a model that only infers, asked to generate. `name`: `model:version`."""
    model = name.rpartition(":")[0]
    return InvalidRequestError(f"model {model!r} does not generate text; ask it by /v2/models/{model}/infer", "model")


def cannot_infer(name: str) -> UnsupportedError:
    """The error of a model that only generates, asked to infer. `name`: `model:version`."""
    model = name.rpartition(":")[0]
    wanted = f"/v1/chat/completions, /v2/models/{model}/generate or ModelStreamInfer of gRPC"
    text = f"model {model!r} generates text; ask it by {wanted}"
    return UnsupportedError(text, "model").as_triton(triton_words.decoupled())
