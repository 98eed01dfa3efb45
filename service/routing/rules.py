"""Rules of a route: what a request is like, and the variants that may answer such."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from service.routing.facts import Facts, Modality


@dataclass(frozen=True, slots=True)
class Rule:
    """Matches a request that is like all that it names; "", 0, None and empty name nothing.

    `min_tokens` to `max_tokens`: about the size of the request, both ends included. `languages`: ISO 639 codes.
    `headers`: names in lower case. `variants`: those that may answer.
    """

    name: str
    variants: frozenset[str]
    min_tokens: int = 0
    max_tokens: int | None = None
    languages: frozenset[str] = frozenset()
    modality: Modality | None = None
    tenant: str = ""
    priority: int = 0
    headers: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}))

    def matches(self, facts: Facts) -> bool:
        """The language, which costs most, is looked at last."""
        return (
            self.min_tokens <= facts.tokens
            and (self.max_tokens is None or facts.tokens <= self.max_tokens)
            and self.modality in (None, facts.modality)
            and self.tenant in ("", facts.hints.tenant.name)
            and self.priority in (0, facts.priority)
            and all(facts.hints.headers.get(name) == value for name, value in self.headers.items())
            and (not self.languages or facts.language in self.languages)
        )


def first_match(rules: Sequence[Rule], facts: Facts) -> Rule | None:
    """The first rule that a request is like; None: it is like none."""
    return next((rule for rule in rules if rule.matches(facts)), None)
