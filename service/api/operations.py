"""What the paths for operators need beside the gateway."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.errors import NotAllowedError
from service.overrides import NO_OVERRIDES, Overrides
from service.stopping import Stopping
from service.telemetry.log_settings import LogSettings
from service.telemetry.tracing import Tracing


class Repository(Protocol):
    """Loads and unloads models while the others serve."""

    async def load(self, name: str, overrides: Overrides = NO_OVERRIDES) -> None:
        """Loads a model as it lies on disk now, but for what `overrides` gives, in place of what is loaded of it;
        raises `BatchyardError`."""

    async def unload(self, name: str, dependents: bool = False) -> None:
        """Takes a model out of service, and with `dependents` the models of an ensemble's steps; raises
        `BatchyardError`."""


class LogControl(Protocol):
    """Triton's log settings, by their names."""

    def get(self) -> Mapping[str, bool | int | str]:
        """All of them, in Triton's order."""

    def update(self, changes: Mapping[str, bool | int | str]) -> Mapping[str, bool | int | str]:
        """Changes all that are named, or none; gives all. Raises `InvalidRequestError`."""


class TraceControl(Protocol):
    """Triton's trace settings, by their names; each value is a list of words, of one but for `trace_level`."""

    def get(self, model: str = "") -> Mapping[str, Sequence[str]]:
        """All of them, in Triton's order: the server's, or those that count for a model."""

    def update(self, model: str, changes: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Changes all that are named, or none, of a model or of the server (""); gives all. An empty value clears a
        setting: a model then takes the server's, the server what it was started with. Raises `InvalidRequestError`."""


@dataclass(frozen=True, slots=True)
class Operations:
    """`repository` None: callers may neither load and unload models nor change settings."""

    stopping: Stopping = field(default_factory=Stopping)
    repository: Repository | None = None
    logging: LogControl = field(default_factory=LogSettings)
    tracing: TraceControl = field(default_factory=Tracing)

    def control(self, deed: str) -> Repository:
        """The repository, where callers may change things; else raises `NotAllowedError`. `deed`: what they want to
        do, as in "load models"."""
        if self.repository is None:
            raise NotAllowedError(
                f"this server does not let callers {deed}; "
                "set allow_control = true in gateway.toml, or start the server with --allow-control"
            )
        return self.repository
