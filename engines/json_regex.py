"""Regular expressions of JSON schemas, as patterns: the part of ECMA-262 that a grammar can hold an answer to.

A pattern describes the whole string. Characters that JSON writes as an escape never match.
"""

from collections.abc import Iterator, Sequence
from string import hexdigits

from engines.errors import InvalidInputError
from engines.json_pattern import Chain, Chars, Either, Pattern, Range, Repeat, may_be_empty, rounds_are_clear

LONGEST = 256
"""Characters of a pattern."""
MOST_REPEATS = 256
"""The largest bound of a repetition."""
_DEEPEST = 16


_LAST = 0x10FFFF
_BARRED: tuple[Range, ...] = ((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x9F), (0xD800, 0xDFFF))
"""Control characters, the quotation mark, the backslash, and halves of surrogate pairs."""
_DIGITS: tuple[Range, ...] = ((0x30, 0x39),)
_WORD: tuple[Range, ...] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: tuple[Range, ...] = ((0x20, 0x20),)
_QUANTIFIERS = ("*", "+", "?", "{")
_SYNTAX = "^$\\.*+?()[]{}|/-"


def read_pattern(text: str) -> Pattern:
    """The tree of a regular expression; it describes the whole string. Raises `InvalidInputError` without a path."""
    if len(text) > LONGEST:
        raise InvalidInputError(f"the pattern has {len(text)} characters; shorten it to {LONGEST}")
    return _Reader(text).whole()


class _Reader:
    """Reads from `_at` on; one method for each level of precedence."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def whole(self) -> Pattern:
        pattern = self._either()
        if self._at < len(self._text):
            raise self._error("has a ) without its (")
        return pattern

    def _either(self) -> Pattern:
        options = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Either(tuple(options))

    def _sequence(self) -> Pattern:
        parts = []
        self._at += self._depth == 0 and self._peek() == "^"
        while self._peek() not in ("", "|", ")"):
            if self._depth == 0 and self._text[self._at : self._at + 2] in ("$", "$|"):
                self._at += 1
                break
            parts.append(self._repeated())
        return parts[0] if len(parts) == 1 else Chain(tuple(parts))

    def _repeated(self) -> Pattern:
        part = self._atom()
        if self._peek() in _QUANTIFIERS:
            least, most = self._bounds()
            if self._peek() == "?":
                self._at += 1
            if self._peek() in _QUANTIFIERS:
                raise self._error("repeats a repetition; put it in parentheses")
            if may_be_empty(part):
                raise self._error("repeats what may be empty")
            if most != 1 and not rounds_are_clear(part):
                raise self._error("repeats a group that must begin with a sign of its own, as in (-[a-z]+)*")
            return Repeat(part, least, most)
        return part

    def _bounds(self) -> tuple[int, int | None]:
        sign = self._next()
        if sign != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        close = self._text.find("}", self._at)
        low, comma, high = self._text[self._at : max(close, 0)].partition(",")
        numbers = [n for n in (low, high) if n]
        if close < 0 or not low or not all(n.isascii() and n.isdigit() and len(n) < 6 for n in numbers):
            raise self._error("has a { that is no {n}, {n,} or {n,m}; escape it as \\{")
        self._at = close + 1
        least = int(low)
        most = int(high) if high else None if comma else least
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise self._error(f"repeats {{{low}{comma}{high}}} times; give bounds from 0 to {MOST_REPEATS}, rising")
        return least, most

    def _atom(self) -> Pattern:
        char = self._next()
        match char:
            case "(":
                return self._group()
            case "[":
                return self._allowed(self._class())
            case ".":
                return self._allowed(((0, _LAST),))
            case "\\":
                return self._allowed(self._escape())
            case "^" | "$":
                raise self._error(f"has a {char} in the middle; ^ may only be the first and $ the last character")
            case "*" | "+" | "?" | "{":
                raise self._error(f"has a {char} with nothing before it to repeat")
        return self._allowed(((ord(char), ord(char)),))

    def _group(self) -> Pattern:
        if self._text.startswith("?", self._at):
            if not self._text.startswith("?:", self._at):
                raise self._error("uses (?, which looks around or names a group; only ( and (?: are possible")
            self._at += 2
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"nests deeper than {_DEEPEST} parentheses")
        inner = self._either()
        self._depth -= 1
        if self._peek() != ")":
            raise self._error("has a ( without its )")
        self._at += 1
        return inner

    def _class(self) -> tuple[Range, ...]:
        negated = self._peek() == "^"
        self._at += negated
        ranges: list[Range] = []
        while self._peek() != "]":
            low = self._class_part()
            if self._peek() == "-" and not self._text.startswith("-]", self._at):
                self._at += 1
                high = self._class_part()
                if len(low) > 1 or len(high) > 1 or low[0][0] != low[0][1] or high[0][0] < low[0][0]:
                    raise self._error("has a range in [] that does not rise from one character to another")
                low = ((low[0][0], high[0][1]),)
            ranges += low
        self._at += 1
        return tuple(_without(ranges)) if negated else tuple(ranges)

    def _class_part(self) -> tuple[Range, ...]:
        char = self._next()
        return self._escape() if char == "\\" else ((ord(char), ord(char)),)

    def _escape(self) -> tuple[Range, ...]:
        char = self._next()
        match char:
            case "d":
                return _DIGITS
            case "w":
                return _WORD
            case "s":
                return _SPACE
            case "D" | "W" | "S":
                return tuple(_without({"D": _DIGITS, "W": _WORD, "S": ((0x20, 0x20), (0xA0, 0xA0))}[char]))
            case "n" | "r" | "t" | "f" | "v":
                return ()
            case "x" | "u":
                return self._code_point({"x": 2, "u": 4}[char])
        if char in _SYNTAX or char in "\"'#%&,:;<=>@_`~! ":
            return ((ord(char), ord(char)),)
        raise self._error(f"uses \\{char}, which is not possible; \\d \\w \\s \\D \\W \\S and escaped signs are")

    def _code_point(self, digits: int) -> tuple[Range, ...]:
        text = self._text[self._at : self._at + digits]
        if len(text) < digits or not all(char in hexdigits for char in text):
            raise self._error(f"has a \\x or \\u without its {digits} hexadecimal digits")
        self._at += digits
        return ((int(text, 16), int(text, 16)),)

    def _allowed(self, ranges: Sequence[Range]) -> Chars:
        left = tuple(_less(ranges, _BARRED))
        if not left:
            raise self._error("asks for a character that JSON writes as an escape, or for none at all")
        return Chars(left)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise self._error("ends in the middle")
        self._at += 1
        return self._text[self._at - 1]

    def _error(self, text: str) -> InvalidInputError:
        return InvalidInputError(f"the pattern {text} (at character {self._at})")


def _without(ranges: Sequence[Range]) -> Iterator[Range]:
    return _less(((0, _LAST),), ranges)


def _less(ranges: Sequence[Range], barred: Sequence[Range]) -> Iterator[Range]:
    """`ranges` sorted and merged, less what is in `barred`."""
    cut = sorted(barred)
    for low, high in _merged(ranges):
        start = low
        for first, last in cut:
            if last < start or first > high:
                continue
            if first > start:
                yield start, first - 1
            start = last + 1
        if start <= high:
            yield start, high


def _merged(ranges: Sequence[Range]) -> Iterator[Range]:
    current: Range | None = None
    for low, high in sorted(ranges):
        if current is not None and low <= current[1] + 1:
            current = current[0], max(current[1], high)
            continue
        if current is not None:
            yield current
        current = low, high
    if current is not None:
        yield current
