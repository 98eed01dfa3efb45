"""What differs from Triton on purpose. Each has its line in docs/compatibility.md, by the same words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Aspect = Literal["status", "text", "body", "order"]


@dataclass(frozen=True, slots=True)
class Difference:
    """`words`: how docs/compatibility.md says it. `names`: a regex for the exchanges it shows in. `aspects`: where."""

    words: str
    names: str
    aspects: frozenset[Aspect]

    def explains(self, name: str, aspect: Aspect) -> bool:
        """Is this why an exchange differs there?"""
        return aspect in self.aspects and re.fullmatch(self.names, name) is not None


def _difference(words: str, names: Sequence[str], *aspects: Aspect) -> Difference:
    return Difference(words, "|".join(names), frozenset(aspects))


DIFFERENCES: tuple[Difference, ...] = ()
