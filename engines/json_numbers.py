"""How numbers between two bounds are written in decimal, as patterns.

No exponents and no leading zeros. Whole numbers have at most 15 digits, so that doubles hold them exactly.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from engines.json_pattern import Chain, Chars, Either, Pattern, Range, Repeat, literal

MOST = 10**15 - 1
"""The largest number either way."""
PLACES = 6
"""Digits after the point, where there is a bound."""
_WHOLE_DIGITS = 15

_ZERO = ord("0")
_ANY = (_ZERO, _ZERO + 9)
_DIGIT = Chars((_ANY,))
_MINUS = literal("-")
_POINT = literal(".")
_SIGN = Repeat(_MINUS, 0, 1)
_NATURAL = Either((literal("0"), Chain((Chars(((_ZERO + 1, _ZERO + 9),)), Repeat(_DIGIT, 0, _WHOLE_DIGITS - 1)))))

ANY_INTEGER: Pattern = Chain((_SIGN, _NATURAL))
ANY_NUMBER: Pattern = Chain((_SIGN, _NATURAL, Repeat(Chain((_POINT, Repeat(_DIGIT, 1, _WHOLE_DIGITS))), 0, 1)))


@dataclass(frozen=True, slots=True)
class Bounds:
    """Both ends, None for none; `low_open`: the end itself is left out."""

    low: Decimal | None = None
    high: Decimal | None = None
    low_open: bool = False
    high_open: bool = False

    @property
    def places(self) -> int:
        """Digits after the point that the ends have."""
        return max(_places(end) for end in (self.low or Decimal(0), self.high or Decimal(0)))

    def first(self, places: int) -> int:
        """The least number with `places` digits after the point, times 10 to the `places`."""
        if self.low is None:
            return 1 - int(10 ** (_WHOLE_DIGITS + places))
        low = self.low.scaleb(places)
        return math.floor(low) + 1 if self.low_open else math.ceil(low)

    def last(self, places: int) -> int:
        """Likewise, the largest."""
        if self.high is None:
            return int(10 ** (_WHOLE_DIGITS + places)) - 1
        high = self.high.scaleb(places)
        return math.ceil(high) - 1 if self.high_open else math.floor(high)


def integers(bounds: Bounds) -> Pattern | None:
    """The whole numbers within `bounds`, None where there is none."""
    return _either(_exact(bounds, 0))


def numbers(bounds: Bounds) -> Pattern | None:
    """Numbers within `bounds` of up to `PLACES` digits after the point, None where there is none.

    Next to an end that is left out, the last digits are: above 0 comes 0.01, or a hundredth of what the end has.
    """
    places = bounds.places
    if bounds.low_open or bounds.high_open:
        places = min(places + 2, PLACES)
    found = [pattern for count in range(places + 1) for pattern in _exact(bounds, count)]
    if places < PLACES:
        found += _longer(bounds, places)
    return _either(found)


def _exact(bounds: Bounds, places: int) -> list[Pattern]:
    first, last = bounds.first(places), bounds.last(places)
    below = _written(max(-last, 1), -first, places, None)
    return [*_written(max(first, 0), last, places, None), *(Chain((_MINUS, pattern)) for pattern in below)]


def _longer(bounds: Bounds, places: int) -> list[Pattern]:
    """Numbers with more digits than `places`: these take one further from zero, but not as far as the next."""
    more = Repeat(_DIGIT, 1, PLACES - places)
    first = bounds.first(places) + (bounds.low is not None)
    last = bounds.last(places) - (bounds.high is not None)
    below = _written(max(-bounds.last(places), 0), -first, places, more)
    above = _written(max(bounds.first(places), 0), last, places, more)
    return [*above, *(Chain((_MINUS, pattern)) for pattern in below)]


def _either(found: list[Pattern]) -> Pattern | None:
    return Either(tuple(found)) if found else None


def _places(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _written(first: int, last: int, places: int, more: Pattern | None) -> Iterator[Pattern]:
    """The numbers from `first` to `last`, not negative, with a point before the last `places` digits."""
    full: list[int] = []
    longest = max(places + 1, len(str(last))) if last >= 0 else 0
    for length in range(places + 1, longest + 1):
        low = max(first, 0 if length == places + 1 else 10 ** (length - 1))
        high = min(last, 10**length - 1)
        if low == 10 ** (length - 1) and high == 10**length - 1 and length > places + 1:
            full.append(length)
        elif low <= high:
            for digits in _spans(str(low).zfill(length), str(high).zfill(length)):
                yield _with_point(digits, places, more)
    if full:
        whole = Chain((Chars(((_ZERO + 1, _ZERO + 9),)), Repeat(_DIGIT, full[0] - places - 1, full[-1] - places - 1)))
        yield Chain((whole, *_fraction([_ANY] * places, more)))


def _with_point(digits: tuple[Range, ...], places: int, more: Pattern | None) -> Pattern:
    whole = len(digits) - places
    return Chain((*_runs(list(digits[:whole])), *_fraction(list(digits[whole:]), more)))


def _fraction(digits: list[Range], more: Pattern | None) -> Iterator[Pattern]:
    if digits or more:
        yield _POINT
        yield from _runs(digits)
        if more:
            yield more


def _runs(digits: list[Range]) -> Iterator[Pattern]:
    """Digits one by one, and as a repetition where several are free."""
    while digits:
        count = 0
        while count < len(digits) and digits[count] == _ANY:
            count += 1
        yield Repeat(_DIGIT, count, count) if count > 1 else Chars((digits[0],))
        digits = digits[max(1, count) :]


def _spans(low: str, high: str) -> Iterator[tuple[Range, ...]]:
    """Digits of equal length from `low` to `high`, as ranges digit by digit."""
    if not low:
        yield ()
        return
    first, last, left = ord(low[0]), ord(high[0]), len(low) - 1
    if first == last:
        yield from (((first, first), *rest) for rest in _spans(low[1:], high[1:]))
        return
    if low[1:].strip("0"):
        yield from (((first, first), *rest) for rest in _spans(low[1:], "9" * left))
        first += 1
    if high[1:].strip("9"):
        yield from (((last, last), *rest) for rest in _spans("0" * left, high[1:]))
        last -= 1
    if first <= last:
        yield ((first, last), *[_ANY] * left)
