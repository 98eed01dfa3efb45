"""The parameters of config.pbtxt that only one engine reads."""

from collections.abc import Mapping, Sequence

from engines.errors import ModelLoadError
from engines.model_config import ModelConfig


def own_parameters(config: ModelConfig, prefix: str, names: Sequence[str]) -> Mapping[str, str]:
    """Those that start with `prefix`, without it; raises `ModelLoadError` for one that is not among `names`."""
    found = {key.removeprefix(prefix): value for key, value in config.parameters.items() if key.startswith(prefix)}
    for name in found.keys() - set(names):
        known = ", ".join(names)
        raise ModelLoadError(f"model {config.name!r}: parameter {prefix + name!r} is unknown; known are {known}")
    return found
