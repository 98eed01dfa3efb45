"""Small plots as SVG text, in the colours that the page's style sheet names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_WIDTH, _HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 16, 46
_COLOURS = ("var(--other)", "var(--mark)")


@dataclass(frozen=True, slots=True)
class Point:
    """A point with its name."""

    name: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line through values at 0, 1, 2 ..."""

    name: str
    values: Sequence[float]


def scatter(points: Sequence[Point], across: str, up: str) -> str:
    """Named points; `across` and `up` name the axes."""
    x = _scale([0.0, *(point.x for point in points)], _LEFT, _WIDTH - _RIGHT)
    y = _scale([point.y for point in points], _HEIGHT - _BOTTOM, _TOP)
    marks = [_dot(x.at(point.x), y.at(point.y), f"{point.name}: {point.x:,.0f}, {point.y:.5f}") for point in points]
    labels = _apart([(x.at(point.x), y.at(point.y), point.name) for point in points])
    return _svg(_HEIGHT, [*_axes(x, y, across, up), *marks, *labels])


def lines(series: Sequence[Line], across: str, up: str) -> str:
    """Lines over whole numbers, each named at its end."""
    x = _scale([0.0, *(float(len(line.values) - 1) for line in series)], _LEFT, _WIDTH - _RIGHT - 60)
    y = _scale([0.0, *(value for line in series for value in line.values)], _HEIGHT - _BOTTOM, _TOP)
    drawn = []
    ends = []
    for line, colour in zip(series, _COLOURS, strict=False):
        path = " ".join(f"{x.at(index):.1f},{y.at(value):.1f}" for index, value in enumerate(line.values))
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [
            _dot(x.at(index), y.at(value), f"{line.name}, {index}: {value:.4f}", colour)
            for index, value in enumerate(line.values)
        ]
        ends.append((x.at(len(line.values) - 1), y.at(line.values[-1]), line.name))
    return _svg(_HEIGHT, [*_axes(x, y, across, up), *drawn, *_apart(ends)])


def bars(values: Sequence[tuple[str, float]]) -> str:
    """A bar a value, its name before it and the number behind it."""
    height, left = 26, 190
    most = max((value for _, value in values), default=1.0) or 1.0
    drawn = []
    for row, (name, value) in enumerate(values):
        top, long = row * height, (_WIDTH - left - 80) * value / most
        drawn += [
            _text(left - 8, top + 17, name, "end"),
            f'<rect x="{left}" y="{top + 4}" width="{long:.1f}" height="{height - 8}" rx="2" fill="var(--mark)"/>',
            _text(left + long + 6, top + 17, f"{value:,.1f}"),
        ]
    return _svg(height * len(values), drawn)


@dataclass(frozen=True, slots=True)
class _Scale:
    ticks: Sequence[float]
    at: Callable[[float], float]


def _scale(values: Sequence[float], start: float, end: float) -> _Scale:
    """Round ticks around `values`, and where on the page between `start` and `end` a value lies."""
    low, high = min(values), max(values)
    span = (high - low) or abs(high) * 0.01 or 1.0
    rough = span / 5
    power = 10.0 ** floor(log10(rough))
    step = power * next(nice for nice in (1, 2, 5, 10) if nice * power >= rough * 0.999)
    first, last = floor(low / step + 1e-9), max(ceil(high / step - 1e-9), floor(low / step + 1e-9) + 1)
    ticks = [number * step for number in range(first, last + 1)]
    return _Scale(ticks, lambda value: start + (end - start) * (value - ticks[0]) / (ticks[-1] - ticks[0]))


def _axes(x: _Scale, y: _Scale, across: str, up: str) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, x.at(x.ticks[-1])
    drawn = []
    for tick in y.ticks:
        drawn.append(_rule(_LEFT, y.at(tick), right, y.at(tick)))
        drawn.append(_text(_LEFT - 8, y.at(tick) + 4, _number(tick, y.ticks), "end"))
    drawn += [_text(x.at(tick), bottom + 18, _number(tick, x.ticks), "middle") for tick in x.ticks]
    drawn.append(_rule(_LEFT, bottom, right, bottom))
    return [*drawn, _text((_LEFT + right) / 2, _HEIGHT - 8, across, "middle"), _text(4, 11, up)]


def _number(tick: float, ticks: Sequence[float]) -> str:
    digits = max(0, -floor(log10(ticks[1] - ticks[0]) + 1e-9))
    return f"{tick:,.{digits}f}"


def _apart(labels: Sequence[tuple[float, float, str]]) -> list[str]:
    """Names right of their points, or left where there is no room, moved down where they would lie on each other."""
    placed: list[tuple[float, float]] = []
    drawn = []
    for x, y, name in sorted(labels, key=lambda label: (label[1], label[0])):
        ends = x + 10 + 7 * len(name) > _WIDTH
        left = x - 10 - 7 * len(name) if ends else x + 10
        top = y + 4
        while any(abs(top - other) < 13 and abs(left - beside) < 7 * len(name) + 10 for beside, other in placed):
            top += 13
        placed.append((left, top))
        drawn.append(_text(x - 8 if ends else x + 8, top, name, "end" if ends else "start"))
    return drawn


def _dot(x: float, y: float, title: str, colour: str = "var(--mark)") -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{escape(title)}</title></circle>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="var(--faint)"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, drawn: Sequence[str]) -> str:
    body = "\n".join(drawn)
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">\n{body}\n</svg>'
