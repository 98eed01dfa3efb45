"""The tables `tenants` of gateway.toml, as they are written."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Scope = Literal["infer", "admin", "metrics"]
"""What a key opens: asking models; loading and unloading them and changing settings; numbers."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class WindowSettings(BaseModel):
    """What a tenant may use within any `seconds` that end now; 0 leaves a measure without a bound.

    `engine_seconds`: measured, a request's share of each batch it was in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: int = Field(gt=0)
    requests: int = Field(0, ge=0)
    tokens: int = Field(0, ge=0)
    engine_seconds: float = Field(0.0, ge=0, allow_inf_nan=False)


def refuse_two_of_a_length(limits: list[WindowSettings]) -> list[WindowSettings]:
    """Two windows of a length would be one."""
    seconds = [one.seconds for one in limits]
    for one in seconds:
        if seconds.count(one) > 1:
            raise ValueError(f"wanted one window of each length, found several of {one} s; put their limits into one")
    return limits


class TenantSettings(BaseModel):
    """One who calls.

    `keys`: SHA-256 of its keys, in hex; `batchyard key new` makes one. `scopes`: what they open. `routes`: models and
    routes that it may ask, none named: all. `priority`: the most urgent that it may claim, 0: any. `min_quality`: what
    answers it has at least this. `weight`: its share of an engine that several want. `max_concurrency`: requests that
    it may have under way, 0: any number. `limits`: what it may use.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: list[_Digest] = Field(min_length=1)
    scopes: list[Scope] = Field(["infer"], min_length=1)
    routes: list[str] = Field([])
    priority: int = Field(0, ge=0)
    min_quality: float = Field(0.0, ge=0, le=1)
    weight: float = Field(1.0, ge=0.001, le=1000)
    max_concurrency: int = Field(0, ge=0)
    limits: Annotated[list[WindowSettings], AfterValidator(refuse_two_of_a_length)] = Field([])


def refuse_shared_keys(tenants: dict[str, TenantSettings]) -> dict[str, TenantSettings]:
    """A key is whose it is. The names of tenants are shown in metrics, and are part of keys of Redis."""
    owners: dict[str, str] = {}
    for name, tenant in tenants.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"wanted a tenant's name of letters, digits, '.', '_' and '-', at most 64, found {name!r}")
        for key in tenant.keys:
            other = owners.setdefault(key, name)
            if other != name:
                raise ValueError(f"wanted every key at one tenant, found {key[:8]}... at {other!r} and {name!r}")
    return tenants
