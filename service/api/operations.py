"""What the paths for operators need beside the gateway."""

from dataclasses import dataclass, field
from typing import Protocol

from service.stopping import Stopping


class Repository(Protocol):
    """Loads and unloads models while the others serve."""

    async def load(self, name: str) -> None:
        """Loads a model as it lies on disk now, in place of what is loaded of it; raises `BatchyardError`."""

    async def unload(self, name: str) -> None:
        """Takes a model out of service; raises `BatchyardError`."""


@dataclass(frozen=True, slots=True)
class Operations:
    """`repository` None: callers may not load and unload models."""

    stopping: Stopping = field(default_factory=Stopping)
    repository: Repository | None = None
