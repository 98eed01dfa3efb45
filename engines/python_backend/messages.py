"""What this process and that of a Python model say to each other.

Commands and replies have a connection of their own, between the thread that owns the engine and the one that runs the
model; all else goes by another, at any time. `key` numbers a request, a question or a query: whoever asks chooses it,
and it comes back with each answer.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from engines.calls import Parameter
from engines.tensor import Array, Tensors

START, END = 1, 2
"""Flags of a request: it starts, it ends a sequence."""

Level = Literal["info", "warning", "error", "debug"]
MetricKind = Literal["counter", "gauge", "histogram"]


class Answer(Struct, omit_defaults=True):
    """An answer to a request or a question; its tensors come with the message.

    `final`: nothing follows. `code`: Triton's name of the error that `error` tells of; "" is no error.
    """

    final: bool = True
    parameters: dict[str, Parameter] = {}
    code: str = ""
    error: str = ""


class Request(Struct, omit_defaults=True):
    """A request to the model. `outputs`: the names wanted, never empty. `timeout`: microseconds, 0 no limit."""

    key: int
    outputs: list[str]
    id: str = ""
    parameters: dict[str, Parameter] = {}
    correlation: int | str = 0
    flags: int = 0
    timeout: int = 0


class Complete(Struct, tag=True):
    """Asks for the configuration, Triton's JSON, as the model completes it. `file`: the model's code."""

    model: str
    file: str
    config: str


class Initialize(Struct, tag=True):
    """Loads the code in `file` and initializes the model with `arguments`."""

    instance: str
    file: str
    decoupled: bool
    arguments: dict[str, str]


class Execute(Struct, tag=True):
    """Runs the model once. The tensors of all requests come `joined`."""

    requests: list[Request]


class Finalize(Struct, tag=True):
    """Finalizes the model; its process ends after the answer."""


class Told(Struct, tag=True):
    """An answer to a question of the model."""

    key: int
    answer: Answer


class Verdict(Struct, tag=True):
    """The answer to a query."""

    key: int
    yes: bool


Command = Complete | Initialize | Execute | Finalize
ToModel = Told | Verdict


class Completed(Struct, tag=True):
    """The completed configuration, Triton's JSON."""

    config: str


class Done(Struct, tag=True):
    """A command without a result was done."""


class Executed(Struct, tag=True):
    """What `execute` returned, one a request; None: the model answers it by its sender. Tensors come `joined`.

    `said`: so many messages the model had sent unasked before.
    """

    answers: list[Answer | None]
    said: int = 0


class Failed(Struct, tag=True):
    """A command failed. `said`: as in `Executed`."""

    message: str
    said: int = 0


class Sent(Struct, tag=True):
    """An answer to the request `key`, by its sender."""

    key: int
    answer: Answer


class Dropped(Struct, tag=True):
    """The model let go of the request `key` without a final answer."""

    key: int


class Asked(Struct, tag=True):
    """A question to another model, whose tensors come with it; `engines.calls.Question` says what each means."""

    key: int
    model: str
    version: str
    outputs: list[str]
    id: str
    parameters: dict[str, Parameter]
    correlation: int | str
    flags: int
    timeout: int
    decoupled: bool


class AskedReady(Struct, tag=True):
    """Can a model answer now? See `engines.calls.ReadyQuestion`."""

    key: int
    model: str
    version: str


class GaveUp(Struct, tag=True):
    """The model wants no more answers to its question `key`."""

    key: int


class IsCancelled(Struct, tag=True):
    """Does nobody wait for the request `request` any more?"""

    key: int
    request: int


class Logged(Struct, tag=True):
    """A line that the model logs."""

    level: Level
    text: str


class Measured(Struct, tag=True):
    """A metric of the model's own as it is now. `counts`: of a histogram, what fell into each of `buckets` and above.

    `value`: of a histogram, the sum of all that was observed.
    """

    family: str
    description: str
    kind: MetricKind
    labels: dict[str, str]
    value: float
    buckets: list[float] = []
    counts: list[int] = []


Reply = Completed | Done | Executed | Failed
FromModel = Sent | Dropped | Asked | AskedReady | GaveUp | IsCancelled | Logged | Measured


def joined(groups: Iterable[Tensors]) -> dict[str, Array]:
    """The tensors of several requests as those of one message."""
    return {f"{index} {name}": array for index, group in enumerate(groups) for name, array in group.items()}


def parted(tensors: Tensors, count: int) -> Sequence[dict[str, Array]]:
    """Undoes `joined` of `count` groups."""
    groups: list[dict[str, Array]] = [{} for _ in range(count)]
    for key, array in tensors.items():
        index, _, name = key.partition(" ")
        groups[int(index)][name] = array
    return groups
