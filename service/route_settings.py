"""The tables `routes` of gateway.toml, as they are written."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

_Name = Annotated[str, StringConstraints(min_length=1)]
_HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", to_lower=True)]
_Code = Annotated[str, StringConstraints(pattern="^[a-z]{2,3}$")]


class VariantSettings(BaseModel):
    """A model that may answer for a route; written as its name where nothing else is to be said.

    `quality`: 1.0 is as good as the original; where it is not said, the model's `batchyard.tolerance`. `step_down`:
    asked only where no other variant can answer in time. `weight`: its share under the policy `weighted`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: _Name
    quality: float | None = Field(None, ge=0, le=1)
    step_down: bool = False
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)


class RuleSettings(BaseModel):
    """A request that is like all that is named here is answered by `variants` only; the first such rule counts.

    `min_tokens`, `max_tokens`: about the size of the input, both included. `language`: ISO 639 codes, of text.
    `tenant`: who calls. `priority`: 1 is the most urgent. `header`: names and values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variants: list[_Name] = Field(min_length=1)
    name: str = ""
    min_tokens: int = Field(0, ge=0)
    max_tokens: int | None = Field(None, ge=0)
    language: list[_Code] = Field([])
    modality: Literal["text", "tensor", "image"] | None = None
    tenant: str = ""
    priority: int = Field(0, ge=0)
    header: dict[_HeaderName, str] = Field({})


def _spelt_out(variants: object) -> object:
    if not isinstance(variants, list):
        return variants
    if not all(isinstance(variant, str | dict | VariantSettings) for variant in variants):
        raise ValueError("wanted names of models, or tables such as { model = 'small', step_down = true }")
    return [{"model": variant} if isinstance(variant, str) else variant for variant in variants]


class RouteSettings(BaseModel):
    """One name that callers use, answered by one of its variants.

    `policy`: `ordered` asks the first that is well and in time, `fastest` the one predicted to answer first, `weighted`
    each as often as its weight says. `default_timeout_ms`: of a request that names no deadline. `min_quality`: what
    answers has at least this. `sticky_header`: under `weighted`, the same value gets the same variant. `retry_budget`:
    share of the requests that may be tried again, 0 for none. `hedge`: ask a second variant when the first is slower
    than 99 of 100. `cache`: remember its answers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variants: Annotated[list[VariantSettings], BeforeValidator(_spelt_out)] = Field(min_length=1)
    policy: Literal["ordered", "fastest", "weighted"] = "ordered"
    default_timeout_ms: int | None = Field(None, gt=0)
    min_quality: float = Field(0.0, ge=0, le=1)
    sticky_header: _HeaderName | None = None
    retry_budget: float = Field(0.1, ge=0, le=1)
    hedge: bool = False
    cache: bool = False
    rules: list[RuleSettings] = Field([])

    @model_validator(mode="after")
    def _fits_together(self) -> "RouteSettings":
        names = [variant.model for variant in self.variants]
        _refuse_twice(names)
        for number, rule in enumerate(self.rules, start=1):
            strange = [name for name in rule.variants if name not in names]
            if strange:
                raise ValueError(f"rule {number} names {strange[0]!r}; wanted some of {', '.join(names)}")
            if rule.max_tokens is not None and rule.max_tokens < rule.min_tokens:
                raise ValueError(f"rule {number} matches nothing: max_tokens is below min_tokens; wanted at least that")
        if self.sticky_header and self.policy != "weighted":
            raise ValueError("sticky_header is for the policy 'weighted'; wanted that, or no sticky_header")
        if self.policy == "weighted" and not any(variant.weight for variant in self.variants):
            raise ValueError("no variant has a weight; wanted one above 0")
        return self


def _refuse_twice(names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise ValueError(f"variant {twice!r} stands there twice; wanted each once")


def keys_at(place: Sequence[str]) -> Mapping[str, object]:
    """The keys that could stand where `place`, the path below a route's name, ends."""
    if len(place) > 1 and place[0] == "variants":
        return VariantSettings.model_fields
    if len(place) > 1 and place[0] == "rules":
        return RuleSettings.model_fields
    return RouteSettings.model_fields
