"""Requests as an engine sees them that takes them one by one, and answers each as often as it likes: Triton's Python
models. Such an engine may ask other models meanwhile: Triton's business logic scripting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from engines.errors import EngineError
from engines.tensor import Signature, Tensors

Parameter = bool | int | float | str
NO_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({})
NO_TENSORS: Tensors = MappingProxyType({})


@dataclass(slots=True, eq=False)
class Response:
    """One answer to a call. `final`: nothing follows. `outputs` empty: with `final`, only the news that it is over.

    `error`: what went wrong instead; it is final.
    """

    outputs: Tensors = field(default_factory=lambda: NO_TENSORS)
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)
    final: bool = True
    error: EngineError | None = None


Respond = Callable[[Response], None]
"""Takes the next answer of a call, on any thread; what comes after the final one is dropped."""


@dataclass(slots=True, eq=False)
class Call:
    """One request on its way into a model. `inputs`: with the batch dimension, where the model has one.

    `outputs`: the names wanted, () all. `correlation`: the sequence it belongs to, 0 or "" none; `start`, `end`: of it.
    `timeout`: microseconds that the caller named, 0 none. `cancelled`: asks whether anybody still waits, on any thread.
    `respond`: takes the answers that `CallEngine.execute` did not return.
    """

    inputs: Tensors
    respond: Respond
    cancelled: Callable[[], bool]
    outputs: tuple[str, ...] = ()
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)
    correlation: int | str = 0
    start: bool = False
    end: bool = False
    timeout: int = 0


@runtime_checkable
class CallEngine(Protocol):
    """Runs one model that takes requests apart; blocking; owned by one thread. Raises `EngineError` only."""

    signature: Signature
    """The model's tensors, those that the batcher adds for sequences included."""

    def warm_up(self) -> None:
        """Runs what `model_warmup` says."""

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        """Has the model look at the calls; one entry a call, in order: its one answer, or None where the model answers
        by the call's `respond`, during this or later, until a final one. Where the engine is lost (`EngineLostError`),
        calls that are still open from earlier get that error by `respond`."""

    def close(self) -> None:
        """Ends the model; may be called twice. Open calls get an error by `respond`."""


@dataclass(slots=True, eq=False)
class Question:
    """What a model asks of another model. `version` "" is the newest. `outputs` () is all.

    `timeout`: microseconds, 0 no limit. `decoupled`: takes any number of answers, else exactly one.
    """

    model: str
    inputs: Tensors
    version: str = ""
    outputs: tuple[str, ...] = ()
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)
    correlation: int | str = 0
    start: bool = False
    end: bool = False
    priority: int = 0
    timeout: int = 0
    decoupled: bool = False


@dataclass(slots=True, eq=False)
class ReadyQuestion:
    """Asks whether a model can answer now: the one answer has a parameter `ready`. `version` as in `Question`."""

    model: str
    version: str = ""


Ask = Callable[[Question | ReadyQuestion, Respond], Callable[[], None]]
"""Has a question answered by whatever its model's name stands for; never blocks, never raises: errors are answers.
What it returns gives the question up."""


def ask_nobody(question: Question | ReadyQuestion, respond: Respond) -> Callable[[], None]:
    """For engines outside of a gateway."""
    respond(Response(error=EngineError(f"there is no model {question.model!r} to ask: nothing else is served here")))
    return lambda: None
