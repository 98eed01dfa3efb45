"""What two questions must have in common to have the same answer, beside their meaning."""

import re
import unicodedata
from dataclasses import dataclass

from service.semantic.dates import take_dates
from service.semantic.numbers import Numbers

_ACCOUNT = re.compile(r"\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\w])(?:\d[ -]?){11,18}\d(?!\w)")
_ENDING = re.compile(
    r"\b(?:end(?:ing|s)?|last (?:four|4)(?: digits)?)(?: (?:in|with|on|of|are|is|by))?:? ?[*x•. -]*(\d{3,4})\b"
)
_MASKED = re.compile(r"(?<![*x•])[*x•]{2,}[ -]?(\d{4})\b")
_IDENTIFIER = re.compile(r"\b(?=\w*[a-z])(?=\w*\d)\w+\b")
_UNREAD = re.compile(r"(?<!\S)\S*\d\S*")
_NEGATION = re.compile(
    r"n['’]t\b|\b(?:not|no|never|none|nothing|neither|nor|without|unable|cannot|cant|dont|wont|didnt|isnt)\b"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """`settled`: accounts, card digits, dates, numbers with their units, identifiers and negations, canonical, a kind
    in the order of the text. `currencies`: of each number among them, "" where it names none."""

    settled: tuple[str, ...]
    currencies: tuple[str, ...]

    def fits(self, other: "Facts") -> bool:
        """Are all facts equal? Amounts whose currencies only one of the two names are the same amounts."""
        same = self.currencies == other.currencies or not any(self.currencies) or not any(other.currencies)
        return self.settled == other.settled and same


def facts_of(text: str) -> Facts:
    """The facts of a text. What it cannot read for sure it takes as it is written: such facts fit only themselves."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    settled: list[str] = []

    def take(pattern: re.Pattern[str], kind: str, group: int = 0) -> None:
        nonlocal text
        settled.extend(f"{kind}:{re.sub('[ -]', '', found[group])}" for found in pattern.finditer(text))
        text = pattern.sub(" ", text)

    take(_ACCOUNT, "account")
    take(_CARD, "account")
    take(_ENDING, "card", 1)
    take(_MASKED, "card", 1)
    dates, text = take_dates(text)
    numbers = Numbers(text)
    text = numbers.rest
    settled += [*dates, *numbers.values, *numbers.named]
    take(_IDENTIFIER, "id")
    take(_UNREAD, "written")
    settled += ["not"] * len(_NEGATION.findall(text))
    return Facts(tuple(settled), tuple(numbers.currencies))
