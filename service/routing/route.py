"""A name over several models: which may answer, and how one of them is chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from service.routing.language import Detect, no_language
from service.routing.policies import Policy, Variant
from service.routing.rules import Rule


@dataclass(frozen=True, slots=True)
class Route:
    """A name over variants. All variants take and give the same tensors.

    `variants`: their models' names; `details`: of those of which more is said than the name. `default_timeout`:
    seconds, of a request that names no deadline; None: the gateway's. `min_quality`: what answers has at least this.
    `sticky_header`: in lower case; under the policy `weighted` the same value gets the same variant. `retry_budget`:
    share of the requests that may be tried again or hedged. `hedge`: ask a second variant when the first is slower than
    99 of 100. `detect`: tells the language for the rules. `cache`: its answers are remembered.
    """

    name: str
    variants: tuple[str, ...]
    policy: Policy
    details: Mapping[str, Variant] = field(default_factory=lambda: MappingProxyType({}))
    rules: tuple[Rule, ...] = ()
    default_timeout: float | None = None
    min_quality: float = 0.0
    sticky_header: bytes = b""
    retry_budget: float = 0.1
    hedge: bool = False
    detect: Detect = no_language
    cache: bool = False

    def variant(self, name: str) -> Variant:
        """What is said of a variant."""
        return self.details.get(name) or Variant(name)
