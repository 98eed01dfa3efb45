"""The policy file of a pipeline: a paragraph for each family of intents."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from service.settings import InvalidSettingsError, word_fault

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Policy(BaseModel):
    """What an answer to any of `intents` must keep to: `text`, a paragraph."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Text
    intents: list[_Text] = Field(min_length=1)
    text: _Text


class _PolicyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: list[Policy] = Field(min_length=1)


Policies = Mapping[str, Policy]
"""The policy of each intent that has one."""


def load_policies(path: Path) -> Policies:
    """Reads `[[policy]]` tables of a TOML file; raises `InvalidSettingsError`, one line a fault."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidSettingsError(f"{path}: cannot be read as TOML: {error}") from error
    try:
        found = _PolicyFile.model_validate(table).policy
    except ValidationError as error:
        faults = [word_fault(f"{path}: {_place(f['loc'])}", f, _known(f["loc"])) for f in error.errors()]
        raise InvalidSettingsError("\n".join(faults)) from error
    _refuse_twice(path, "name", [policy.name for policy in found])
    _refuse_twice(path, "intent", [intent for policy in found for intent in policy.intents])
    return MappingProxyType({intent: policy for policy in found for intent in policy.intents})


def _place(location: Sequence[int | str]) -> str:
    """policy 3.intents 1 of ("policy", 2, "intents", 0): people count from one."""
    return "".join(f" {part + 1}" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _known(location: Sequence[int | str]) -> list[str]:
    return list((Policy if len(location) > 1 else _PolicyFile).model_fields)


def _refuse_twice(path: Path, what: str, words: Sequence[str]) -> None:
    twice = sorted({word for word in words if words.count(word) > 1})
    if twice:
        raise InvalidSettingsError(f"{path}: {what} {', '.join(map(repr, twice))} stands there twice; name each once")
