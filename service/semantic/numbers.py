"""Numbers in text: written with digits or in words, with their currency or unit."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType

_LOW = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
)
_TENS = re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety")
_SMALL: Mapping[str, int] = MappingProxyType(
    {word: value for value, word in enumerate(_LOW)} | {word: 10 * ten for ten, word in enumerate(_TENS, 2)}
)
_LARGE: Mapping[str, int] = MappingProxyType({"hundred": 100, "thousand": 1000, "million": 10**6})
_WORD = "|".join([*_SMALL, *_LARGE])
_SPELLED = re.compile(rf"\b(?:{_WORD})(?:(?: and |[ -])(?:{_WORD}))*\b")

_SYMBOLS: Mapping[str, str] = MappingProxyType(
    {"us$": "usd", "$": "usd", "a$": "aud", "au$": "aud", "c$": "cad", "ca$": "cad", "nz$": "nzd", "hk$": "hkd"}
    | {"€": "eur", "£": "gbp", "¥": "jpy", "₹": "inr"}
)
_WRITTEN = re.findall(r"\w+", "usd eur gbp jpy inr chf aud cad nzd hkd cny sek nok dkk pln czk huf zar")
_CODES: Mapping[str, str] = MappingProxyType(
    {code: code for code in _WRITTEN}
    | {"dollar": "usd", "dollars": "usd", "bucks": "usd", "euro": "eur", "euros": "eur", "pound": "gbp"}
    | {"pounds": "gbp", "quid": "gbp", "sterling": "gbp", "yen": "jpy", "rupee": "inr", "rupees": "inr"}
    | {"franc": "chf", "francs": "chf"}
)
_PERIODS = re.findall(r"\w+", "second minute hour day night week month year cent")
_UNITS: Mapping[str, str] = MappingProxyType(
    {"%": "%", "percent": "%", "per cent": "%", "k": "k", "m": "m", "x": "times", "times": "times"}
    | {name + plural: name for name in _PERIODS for plural in ("", "s")}
    | {"sec": "second", "secs": "second", "min": "minute", "mins": "minute", "hr": "hour", "hrs": "hour"}
    | {"pence": "penny", "p": "penny", "penny": "penny", "st": "th", "nd": "th", "rd": "th", "th": "th"}
)
_SCALES: Mapping[str, str] = MappingProxyType({"k": "e3", "m": "e6"})


def _any_of(words: Mapping[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_NUMBER = re.compile(
    rf"(?P<minus>(?<![\w)])[-−])?(?:(?<![\w])(?P<before>{_any_of(_SYMBOLS)}|(?:{_any_of(_CODES)})(?=\s?\d))\s?)?"
    r"(?<![\w.,])(?P<digits>\d{1,3}(?:[ ,.'’]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d+)?)"
    rf"(?:\s?(?P<scale>k|m)(?![\w]))?(?:\s?(?P<after>[€£¥₹$%]|(?:{_any_of(_CODES)}|{_any_of(_UNITS)})(?!\w)))?(?!\w)"
)
_CURRENCY = re.compile(rf"(?<!\w)(?:{_any_of(_CODES)})(?!\w)|[€£¥₹$]")


class Numbers:
    """What a text says in numbers. `values`: canonical, in order, with their units. `currencies`: of each, "" for none.

    `named`: currencies that stand alone. `rest`: the text without all these.
    """

    def __init__(self, text: str) -> None:
        self.values: list[str] = []
        self.currencies: list[str] = []
        self.rest = _NUMBER.sub(self._take, in_digits(text))
        self.named = [currency_of(found.group()) for found in _CURRENCY.finditer(self.rest)]

    def _take(self, found: re.Match[str]) -> str:
        value = canonical(found["digits"])
        if found["scale"] and not value.startswith("'"):
            value = _plain(Decimal(value + _SCALES[found["scale"]]))
        before, after = found["before"] or "", found["after"] or ""
        named = {currency_of(word) for word in (before, after) if word in _SYMBOLS or word in _CODES}
        self.currencies.append(" ".join(sorted(named)))
        unit = _UNITS.get(after, "")
        self.values.append(("-" if found["minus"] else "") + value + (f" {unit}" if unit else ""))
        return " "


def currency_of(word: str) -> str:
    """The code of a currency that is written like this."""
    return _SYMBOLS.get(word) or _CODES[word]


def canonical(digits: str) -> str:
    """1000.5 for "1,000.50", "1.000,50" and "1000.5". What can be read in two ways ("1.000"), and what is no quantity
    ("007"), stays as it is written, behind a quote."""
    plain = re.sub(r"[ '’]", "", digits)
    separators = re.findall(r"[.,]", plain)
    if not separators:
        return f"'{plain}" if len(plain) > 1 and plain.startswith("0") else _plain(Decimal(plain))
    last = separators[-1]
    decimals = len(plain) - plain.rindex(last) - 1
    if len(set(separators)) == 2 or (len(separators) == 1 and decimals != 3):
        other = "," if last == "." else "."
        return _plain(Decimal(plain.replace(other, "").replace(last, ".")))
    if len(separators) == 1 and (last == "." or plain.startswith("0")):
        return f"'{plain}"
    return _plain(Decimal(re.sub(r"[.,]", "", plain)))


def _plain(value: Decimal) -> str:
    """To the last digit, however many there are."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def in_digits(text: str) -> str:
    """The text with 250 for "two hundred and fifty". A lone "one" stays: it mostly counts nothing."""
    return _SPELLED.sub(lambda found: _value_of(found.group()), text)


def _value_of(words: str) -> str:
    if words == "one":
        return words
    return " ".join(str(value) for value in _values(re.split(r" and |[ -]", words)))


def _values(words: list[str]) -> Iterator[int]:
    """Of words that follow each other: "twenty five" is one number, "five six" are two."""
    total, group, last = 0, 0, 0
    for word in words:
        if word in _LARGE:
            scale = _LARGE[word]
            total, group = (total, max(group, 1) * scale) if scale == 100 else (total + max(group, 1) * scale, 0)
            last = scale
            continue
        value = _SMALL[word]
        if last and not (last in _LARGE.values() or (last >= 20 and value < 10)):
            yield total + group
            total, group = 0, 0
        group += value
        last = max(value, 1)
    yield total + group
