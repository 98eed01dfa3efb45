"""The tables `tenants` of gateway.toml, as they are written."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Scope = Literal["infer", "admin", "metrics"]
"""What a key opens: asking models; loading and unloading them and changing settings; numbers."""

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
    weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    max_concurrency: int = Field(0, ge=0)
    limits: list[WindowSettings] = Field([])
