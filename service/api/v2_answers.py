"""The bodies of the Open Inference Protocol's control plane."""

from dataclasses import asdict, dataclass

from msgspec import Struct

from service.types import ModelInfo


@dataclass(frozen=True, slots=True)
class Live:
    """Is the process alive?"""

    live: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """Can the server answer inference requests?"""

    ready: bool


@dataclass(frozen=True, slots=True)
class ModelReady:
    """Can the model answer inference requests?"""

    name: str
    ready: bool


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """What the server is and which protocol extensions it has."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """An input or output; -1 is any size; the batch dimension is included."""

    name: str
    datatype: str
    shape: list[int]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model takes and gives."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class IndexQuery(Struct):
    """`ready` true: list only models that can answer."""

    ready: bool = False


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version of a model of the repository. `state`: READY, UNAVAILABLE, LOADING or UNLOADING."""

    name: str
    version: str
    state: str
    reason: str


def index_entries(model: ModelInfo) -> list[IndexEntry]:
    """A model's versions: those that are open, else those that could be; else one without a version."""
    state = "READY" if model.ready else model.state
    return [IndexEntry(model.name, version, state, model.reason) for version in model.versions or model.closed or ("",)]


def index_answer(model: ModelInfo) -> list[dict[str, str]]:
    """The same as JSON has it: without the version and the reason where there is none, as in Triton."""
    return [{name: value for name, value in asdict(entry).items() if value} for entry in index_entries(model)]
