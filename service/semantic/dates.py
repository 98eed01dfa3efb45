"""Dates and times of day in text, whichever way they are written."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

_NAMES: tuple[str, ...] = tuple(
    re.findall(r"\w+", "january february march april may june july august september october november december")
)
_MONTHS: Mapping[str, int] = MappingProxyType(
    {name: number for number, name in enumerate(_NAMES, 1)}
    | {name[:3]: number for number, name in enumerate(_NAMES, 1)}
    | {"sept": 9}
)
_MONTH = "(?P<month>" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\b\.?"
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_ALONE = "|".join(
    name for name in [*_NAMES, "jan", "feb", "apr", "aug", "sept", "oct", "nov"] if name not in ("may", "march")
)
_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_RELATIVE = (
    r"yesterday|today|tonight|tomorrow|ago|weekends?|noon|midnight|"
    rf"(?:last|next|this|previous|coming) (?:night|week|weekend|month|year|{_DAYS})"
)


def _named(found: re.Match[str]) -> str:
    parts = found.groupdict()
    day = int(parts["day"]) if parts.get("day") else 0
    return _date(parts.get("year") or "", _MONTHS[parts["month"]], day)


def _iso(found: re.Match[str]) -> str:
    return _date(found["year"], int(found["month"]), int(found["day"]))


def _numeric(found: re.Match[str]) -> str:
    """Which of the two is the day is only known where one is above 12, or both are equal."""
    first, second, year = int(found[1]), int(found[2]), found[3] or ""
    year = f"20{year}" if len(year) == 2 else year
    if first == second or first > 12 >= second:
        return _date(year, second, first)
    if second > 12 >= first:
        return _date(year, first, second)
    return f"date:{first}/{second}/{year}"


def _date(year: str, month: int, day: int) -> str:
    return f"date:{year}-{month:02}-{day:02}"


def _time(found: re.Match[str]) -> str:
    hour, minute, half = int(found[1]), int(found[2] or 0), (found[3] or "").replace(".", "")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return f"time:{hour:02}:{minute:02}"


def _word(found: re.Match[str]) -> str:
    return "day:" + " ".join(found.group().split())


_Reader = Callable[[re.Match[str]], str]
_FORMS: tuple[tuple[re.Pattern[str], _Reader], ...] = tuple(
    (re.compile(pattern), reader)
    for pattern, reader in (
        (rf"\b{_YEAR}[-/.](?P<month>\d\d?)[-/.](?P<day>\d\d?)\b", _iso),
        (r"\b(\d\d?)[-/.](\d\d?)[-/.]((?:19|20)?\d\d)\b", _numeric),
        (r"\b(\d\d?)/(\d\d?)()\b", _numeric),
        (rf"\b{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR}\b)?", _named),
        (rf"\b{_MONTH} {_YEAR}\b", _named),
        (rf"\b{_MONTH} (?:the )?{_DAY}\b(?:,? {_YEAR}\b)?", _named),
        (r"\b([01]?\d|2[0-3])[:.]([0-5]\d) ?([ap]\.?m\b\.?)", _time),
        (r"\b([01]?\d|2[0-3]):([0-5]\d)()\b", _time),
        (r"\b(1[0-2]|\d)() ?([ap]\.?m\b\.?)", _time),
        (rf"\b(?P<month>{_ALONE})\b", _named),
        (rf"\b(?:{_RELATIVE}|(?:{_DAYS}))(?=s?\b)", _word),
    )
)


def take_dates(text: str) -> tuple[list[str], str]:
    """All dates, days and times of a text in small letters, in the order of the text; and the text without them."""
    found: list[tuple[int, str]] = []
    for pattern, reader in _FORMS:

        def take(match: re.Match[str], reader: _Reader = reader) -> str:
            found.append((match.start(), reader(match)))
            return " " * len(match.group())

        text = pattern.sub(take, text)
    return [value for _, value in sorted(found)], text
