"""What passes through the one door: a request, its prepared form, and the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engines.model_config import ModelConfig
from engines.tensor import Array, Signature, Tensors

Parameter = bool | int | float | str

AGING = 5.0
"""Seconds by which a priority level is due later than the one before it."""


@dataclass(slots=True)
class InferRequest:
    """One call as the caller made it, whatever its protocol.

    `version` "" is the newest served. `outputs` () is all of them. `deadline`: seconds on the gateway's clock, inf for
    none. `priority`: 1 is the most urgent, 0 the model's default.
    """

    model: str
    inputs: dict[str, Array]
    version: str = ""
    outputs: tuple[str, ...] = ()
    id: str = ""
    deadline: float = float("inf")
    priority: int = 0
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(slots=True)
class Timing:
    """Seconds a request spent waiting and computing; what its batch held, in requests, in cost units, and in slots.

    A request spread over several batches shows the longest wait and the last batch.
    """

    queue: float = 0.0
    compute: float = 0.0
    batch_size: int = 0
    batch_tokens: int = 0
    batch_slots: int = 0


@dataclass(slots=True)
class InferResponse:
    """The answer. `model` and `version` name the model that answered (a variant, where a route was asked)."""

    model: str
    version: str
    outputs: dict[str, Array]
    engine: str = ""
    timing: Timing = field(default_factory=Timing)
    tokens: int = 0


@dataclass(slots=True)
class Job:
    """A checked request, cut into `parts` that can be batched apart: one a text for text models, else one.

    `costs`: what each part adds to a batch: tokens for text, rows otherwise. `rows`: the batch dimension of each part.
    """

    request: InferRequest
    parts: Sequence[Tensors]
    costs: Sequence[int]
    rows: int = 1


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model or route as callers see it. `signature`: what a caller sends and gets, text input included.

    `versions`: those served, ascending. `ready` False comes with a `reason`. `config` None: its config.pbtxt could not
    be read, or the name is a route (then `variants` names its models).
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    backend: str
    signature: Signature
    ready: bool
    reason: str = ""
    config: ModelConfig | None = None
    variants: tuple[str, ...] = ()
