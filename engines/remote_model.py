"""The contract of a model that another server runs: tensors go there, and answers come back."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Protocol

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.calls import Question, Response


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens. `host`: a name or an IP address, without brackets. `path`: before /v2, HTTP only.

    `server_name`: the name its certificate is for, "" where that is `host`.
    """

    protocol: str
    secure: bool
    host: str
    port: int
    path: str = ""
    server_name: str = ""

    @property
    def authority(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.protocol}{'s' if self.secure else ''}://{self.authority}{self.path}"


class RemoteModel(Protocol):
    """One model of one server. Used on the event loop; raises `EngineError` only. `seconds`: that it may take, or inf.

    Cancelling whoever awaits gives the request up there as well.
    """

    async def infer(self, question: Question, seconds: float) -> Response:
        """Asks for the one answer. Its outputs are views of what was received where they can be."""

    def stream(self, question: Question, seconds: float) -> AsyncGenerator[Response, None]:
        """Asks for any number of answers, the last of them `final`. What is not read is not fetched."""

    async def ready(self, seconds: float) -> None:
        """Returns where the server says that the model is ready; raises why it is not."""

    async def config(self, seconds: float) -> ModelConfigProto:
        """The model's configuration there; where the server has only metadata, one with what these say: no batches."""

    async def close(self) -> None:
        """Closes all connections; what is asked gets `EngineUnreachableError`. May be called twice."""


@dataclass(frozen=True, slots=True)
class RemoteServers:
    """The servers of one model: `addresses`, or, where there are none, every address that `name` has.

    `refresh`: seconds after which a name is looked up again. `most`: requests that one server is given at once.
    `batch_seconds`: seconds that a batch may take which the gateway composed.
    """

    model: str
    addresses: tuple[Address, ...]
    name: Address | None
    refresh: float
    most: int
    batch_seconds: float
    connect: Callable[[Address], RemoteModel]
    """Connects when it is first asked; to be called on the event loop."""
