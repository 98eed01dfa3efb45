"""What a caller may give in place of what a model's folder holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Overrides:
    """`config`: a model configuration as Triton's JSON, None leaves it to config.pbtxt. `files`: path in the model's
    folder -> content; with any of them the folder is not read at all, and `config` must be given."""

    config: str | None = None
    files: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))


NO_OVERRIDES = Overrides()
