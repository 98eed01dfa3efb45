"""Patterns that JSON strings and numbers are held to, as a small tree, and what they cost a grammar compiler."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of `ranges`, code points, both ends included."""

    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """One after the other."""

    parts: tuple["Pattern", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of several."""

    options: tuple["Pattern", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`part` from `least` to `most` times; None: without an end."""

    part: "Pattern"
    least: int
    most: int | None


Pattern = Chars | Chain | Either | Repeat

_LETTERS: tuple[Range, ...] = ((0x41, 0x5A), (0x61, 0x7A))
_SIGNS: tuple[Range, ...] = ((0x20, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E))
_PLACE = 0.005
_NARROW = 0.1
"""What digits cost at most."""


def literal(text: str) -> Chain:
    """The very characters of `text`."""
    return Chain(tuple(Chars(((ord(char), ord(char)),)) for char in text))


def cost(pattern: Pattern) -> float:
    """What it costs to compile `pattern`, in places for any character, each of which took 12 ms with 49,000 tokens.

    A compiler asks for each place which tokens of the vocabulary may follow there: words mostly, so letters cost more
    than digits. A bounded repetition has a place for each time, an open one has one.
    """
    match pattern:
        case Chars(ranges):
            letters = sum(_overlap(ranges, ends) for ends in _LETTERS)
            signs = sum(_overlap(ranges, ends) for ends in _SIGNS)
            return _PLACE + 0.6 * letters / 52 + 0.4 * signs / 33
        case Chain(parts) | Either(parts):
            return sum(map(cost, parts))
        case Repeat(part, least, most):
            return cost(part) * max(1, least + 1 if most is None else most)


def rounds_are_clear(part: Pattern) -> bool:
    """May a parser tell where a round of a repeated group begins? Else it would follow many readings at each step."""
    wide = list(_wide_repeats(part))
    options = part.options if isinstance(part, Either) else (part,)
    return isinstance(part, Chars) or not wide or all(_is_apart(_first(option), wide) for option in options)


def _wide_repeats(pattern: Pattern) -> Iterator[Chars]:
    match pattern:
        case Chain(parts) | Either(parts):
            for part in parts:
                yield from _wide_repeats(part)
        case Repeat(part, least, most):
            yield from _wide_repeats(part) if least == most else _wide_chars(part)


def _wide_chars(pattern: Pattern) -> Iterator[Chars]:
    match pattern:
        case Chars():
            if cost(pattern) > _NARROW:
                yield pattern
        case Chain(parts) | Either(parts):
            for part in parts:
                yield from _wide_chars(part)
        case Repeat(part):
            yield from _wide_chars(part)


def _first(pattern: Pattern) -> Pattern | None:
    return _first(pattern.parts[0]) if isinstance(pattern, Chain) and pattern.parts else pattern


def _is_apart(first: Pattern | None, wide: Sequence[Chars]) -> bool:
    return isinstance(first, Chars) and not any(_overlap(one.ranges, ends) for one in wide for ends in first.ranges)


def _overlap(ranges: Sequence[Range], ends: Range) -> int:
    return sum(max(0, min(high, ends[1]) - max(low, ends[0]) + 1) for low, high in ranges)


def may_be_empty(pattern: Pattern) -> bool:
    match pattern:
        case Chars():
            return False
        case Chain(parts):
            return all(map(may_be_empty, parts))
        case Either(options):
            return any(map(may_be_empty, options))
        case Repeat(part, least, _):
            return least == 0 or may_be_empty(part)
