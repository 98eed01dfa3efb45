"""The bodies of the Open Inference Protocol's control plane."""

from dataclasses import dataclass

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
    """One version of a model of the repository."""

    name: str
    version: str
    state: str
    reason: str


def index_entries(model: ModelInfo) -> list[IndexEntry]:
    """A model's versions; one without a version where none is open."""
    state = "READY" if model.ready else "UNAVAILABLE"
    return [IndexEntry(model.name, version, state, model.reason) for version in model.versions or ("",)]
