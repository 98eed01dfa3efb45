"""What passes through the one door: a request, its prepared form, and the answer."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from engines.calls import NO_PARAMETERS, Parameter
from engines.model_config import ModelConfig
from engines.tensor import Array, Signature, Tensors

AGING = 5.0
"""Seconds by which a priority level is due later than the one before it."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who calls. `name`: "" where nobody is told apart. `weight`: its share of an engine that several want. `routes`:
    models and routes that it may ask, none named: all."""

    name: str = ""
    weight: float = 1.0
    routes: frozenset[str] = field(default=frozenset(), compare=False)

    def may_ask(self, name: str) -> bool:
        """May it ask the model or route of this name, and know of it?"""
        return not self.routes or name in self.routes


ANYONE = Tenant()


@dataclass(slots=True)
class Bill:
    """What a call has cost its tenant so far, its steps in other models included.

    `tokens`: that were read and written. `engine_seconds`: measured, its share of each batch by cost.
    """

    tokens: int = 0
    engine_seconds: float = 0.0


CacheControl = Literal["", "no-cache", "no-store"]
"""As in RFC 9111: a new answer, that is stored; or one that is neither looked up nor stored."""


@dataclass(slots=True, eq=False)
class Hints:
    """What a call says about where it may be answered. Not frozen, because every request makes one.

    `headers`: all of the call's, names in lower case. `variant`: the model to answer, "" leaves it to the route.
    `min_quality`: what answers has at least this declared quality. `tenant`: who calls. `explain`: the caller wants to
    know why its answer took so long. `bill`: where its cost is added up, set when it is admitted; None: nowhere.
    """

    headers: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}))
    variant: str = ""
    min_quality: float = 0.0
    tenant: Tenant = ANYONE
    explain: bool = False
    cache: CacheControl = ""
    bill: Bill | None = None


NO_HINTS = Hints()


@dataclass(frozen=True, slots=True)
class SequenceStep:
    """Where a request stands in a sequence of requests to a stateful model. `id`: the correlation id, not 0 or ""."""

    id: int | str
    start: bool = False
    end: bool = False


@dataclass(slots=True)
class InferRequest:
    """One call as the caller made it, whatever its protocol.

    `version` "" is the newest served. `outputs` () is all of them. `deadline`: seconds on the gateway's clock, inf for
    none. `priority`: 1 is the most urgent, 0 the model's default. `parameters`: those the protocol gives no meaning;
    models see them. `sequence`: None where it is no part of one. `timeout`: microseconds that the caller named, 0 none;
    the deadline has them already. `content`: SHA-256 of inputs and parameters, b"" where nobody needed it yet; a
    request that is made of another does not take it over.
    """

    model: str
    inputs: dict[str, Array]
    version: str = ""
    outputs: tuple[str, ...] = ()
    id: str = ""
    deadline: float = float("inf")
    priority: int = 0
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    hints: Hints = NO_HINTS
    sequence: SequenceStep | None = None
    timeout: int = 0
    content: bytes = field(default=b"", init=False)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seconds from now until an answer, as the cost model sees it. 0 where nothing is known yet.

    `queue`: of them, until a batch takes the request. `seconds`: on average. `p95`: in 95 of 100 cases it is there by
    then.
    """

    queue: float = 0.0
    seconds: float = 0.0
    p95: float = 0.0


NO_PREDICTION = Prediction()


@dataclass(slots=True)
class Timing:
    """Seconds a request spent waiting and computing; what its batch held, in requests, in cost units, and in slots.

    A request spread over several batches shows the longest wait and the last batch. `predicted`: what was thought when
    the replica took it; `actual`: seconds from then to the answer. `input`, `output`: of `compute`, what laying the
    batch out took, and taking it apart. `engine_seconds`: its own share of all batches that it was in, by cost.
    """

    queue: float = 0.0
    compute: float = 0.0
    batch_size: int = 0
    batch_tokens: int = 0
    batch_slots: int = 0
    predicted: Prediction = NO_PREDICTION
    actual: float = 0.0
    input: float = 0.0
    output: float = 0.0
    engine_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A replica that a route looked at. `verdict`: "chosen", or why not, in words."""

    name: str
    prediction: Prediction
    verdict: str


@dataclass(frozen=True, slots=True)
class Routed:
    """How an answer was routed. Names are `model:version`.

    `route` and `rule`: "" where there was none. `candidates`: empty unless an explanation was asked for. `tries`: those
    that failed or were too late before the one that answered, with the reason. `step_down`: the cheaper variant that
    answered because the route was overloaded, "" where none did. `hedged`: two were asked, this one was first.
    """

    route: str = ""
    rule: str = ""
    policy: str = ""
    candidates: tuple[Candidate, ...] = ()
    tries: tuple[str, ...] = ()
    step_down: str = ""
    hedged: bool = False


DIRECT = Routed()


@dataclass(frozen=True, slots=True)
class Cached:
    """How the cache took part in an answer. `age`: seconds since it was computed, of a hit.

    `verdict`: "" where no cache looks at such requests, "coalesced" where an equal request was already on its way,
    "semantic" where it is the answer to a question that means the same. `similarity`: cosine of the two questions.
    `seconds`: that looking, and storing, took.
    """

    verdict: Literal["", "hit", "miss", "coalesced", "semantic"] = ""
    age: float = 0.0
    similarity: float = 0.0
    seconds: float = 0.0


NOT_CACHED = Cached()


@dataclass(slots=True)
class InferResponse:
    """An answer. `model` and `version` name the model that answered (a variant, where a route was asked).

    `parameters`: what the model says beside its outputs. `final`: nothing follows; False only among `Responses`.
    `cached`: what the cache had to do with it.
    """

    model: str
    version: str
    outputs: dict[str, Array]
    engine: str = ""
    timing: Timing = field(default_factory=Timing)
    tokens: int = 0
    routed: Routed = DIRECT
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)
    final: bool = True
    cached: Cached = NOT_CACHED


class Responses(Protocol):
    """The answers of one request, as they come. Used on the event loop, by one task."""

    async def read(self) -> InferResponse | None:
        """The next answer; None once the final one was read. Raises `service.errors.BatchyardError`, after which
        nothing follows. The final one may hold no outputs: it says then that it is over."""

    def close(self) -> None:
        """Ends it: what is not answered yet never will be. To be called in every case; may be called twice."""


Outputs = dict[str, Array]
Join = Callable[[Sequence[Outputs]], Outputs]
"""Makes one answer of those of all parts, in order; raises `BatchyardError` where they do not fit together."""


@dataclass(slots=True)
class Job:
    """A checked request, cut into `parts` that can be batched apart: one a text for text models, else one.

    `costs`: what each part adds to a batch: tokens for text, rows otherwise. `rows`: the batch dimension of each part.
    `bulk`: indices of the parts that are not urgent, windows of long texts: they give way to everything else. `join`:
    None lays the answers of all parts end to end. `tokens`: what the caller is told that it sent, None: all costs.
    `slot`: the row of the batch that its sequence holds, where sequences hold rows.
    """

    request: InferRequest
    parts: Sequence[Tensors]
    costs: Sequence[int]
    rows: int = 1
    bulk: Collection[int] = ()
    join: Join | None = None
    tokens: int | None = None
    slot: int = 0


class Offer(NamedTuple):
    """What is open under a name takes and gives. `decoupled`: any number of answers to a request. `most_rows`: what one
    request may bring, 0 where its rows go into batches one by one."""

    signature: Signature
    decoupled: bool = False
    most_rows: int = 0


ModelState = Literal["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]
"""Triton's words."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model or route as callers see it. `signature`: what a caller sends and gets, text input included.

    `versions`: those served, ascending. `ready` False comes with a `reason`. `config` None: its config.pbtxt could not
    be read, or the name is a route (then `variants` names its models). `closed`: its versions, where none is served;
    `state`: what is done to it then.
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
    closed: tuple[str, ...] = ()
    state: ModelState = "UNAVAILABLE"
