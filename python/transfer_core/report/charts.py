"""Charts as inline SVG. Colours come from classes of the page, so that they follow its dark mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from transfer_core.report.numbers import number, shortened

WIDTH = 640
_ROW, _LABELS, _VALUES = 24, 200, 60
_HEIGHT, _LEFT, _BOTTOM, _TOP = 300, 64, 44, 12
_STYLES = 6


class Bar(NamedTuple):
    """A value with its interval, and a mark to compare it with."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    mark: float | None = None


class Line(NamedTuple):
    """Points (x, y) of a line, in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]


def bar_chart(bars: Sequence[Bar], title: str) -> Markup:
    """Draw horizontal bars from 0 to at least 1, with intervals as whiskers and marks as dashes.

    Parameters
    ----------
    bars
        Values that are not negative.
    title
        Text alternative.
    """
    largest = max([1.0, *(max(bar.value, *(bar.interval or (0.0,)), bar.mark or 0.0) for bar in bars)])
    scale = (WIDTH - _LABELS - _VALUES) / largest
    rows = [_bar(bar, 4 + _ROW * row, scale) for row, bar in enumerate(bars)]
    return _svg(title, _ROW * len(bars) + 8, rows)


def line_chart(
    lines: Sequence[Line],
    title: str,
    x_title: str,
    y_title: str,
    unit: bool = False,
    diagonal: bool = False,
) -> Markup:
    """Draw up to 6 lines, told apart by colour and dashes, with a legend.

    Parameters
    ----------
    lines
        Lines with at least one point in total.
    title
        Text alternative.
    x_title, y_title
        Titles of the axes.
    unit
        Whether both axes are shares, 0 to 1.
    diagonal
        Whether the line y = x is drawn.
    """
    lines = lines[:_STYLES]
    points = [point for line in lines for point in line.points]
    axes = _Axes(points, unit)
    parts = [axes.drawn(x_title, y_title)]
    if diagonal:
        parts.append(axes.line([(0, 0), (1, 1)], "ideal"))
    for style, line in enumerate(lines):
        parts.append(axes.line(line.points, f"line s{style}"))
        parts += [axes.dot(point, f"dot s{style}") for point in line.points if len(line.points) <= 50]
    height = _HEIGHT
    if len(lines) > 1:
        parts += [_legend(line.name, style, _HEIGHT + 18 * style) for style, line in enumerate(lines)]
        height += 18 * len(lines)
    return _svg(title, height, parts)


def scatter_chart(points: Sequence[tuple[float, float]], title: str, x_title: str, y_title: str) -> Markup:
    """Draw points, and the line y = 0."""
    axes = _Axes([*points, (points[0][0], 0.0)])
    zero = axes.line([(axes.x_range[0], 0.0), (axes.x_range[1], 0.0)], "ideal")
    dots = [axes.dot(point, "dot s0") for point in points]
    return _svg(title, _HEIGHT, [axes.drawn(x_title, y_title), zero, *dots])


class _Axes:
    """Scales and grid of the area of a chart."""

    def __init__(self, points: Sequence[tuple[float, float]], unit: bool = False) -> None:
        whole = not unit and all(x == round(x) for x, _ in points)
        self._x_ticks = ticks(*((0.0, 1.0) if unit else _extent([x for x, _ in points])), whole=whole)
        self._y_ticks = ticks(*((0.0, 1.0) if unit else _extent([y for _, y in points])))
        self.x_range = self._x_ticks[0], self._x_ticks[-1]
        self.y_range = self._y_ticks[0], self._y_ticks[-1]

    def _place(self, point: tuple[float, float]) -> tuple[float, float]:
        x, y = (
            (value - low) / (high - low)
            for value, (low, high) in zip(point, (self.x_range, self.y_range), strict=True)
        )
        return _LEFT + x * (WIDTH - _LEFT - 16), _TOP + (1 - y) * (_HEIGHT - _TOP - _BOTTOM)

    def drawn(self, x_title: str, y_title: str) -> Markup:
        """Grid, ticks and titles."""
        left, bottom = self._place((self.x_range[0], self.y_range[0]))
        right, _ = self._place((self.x_range[1], self.y_range[1]))
        parts = []
        for tick in self._y_ticks:
            y = self._place((self.x_range[0], tick))[1]
            parts.append(
                Markup('<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
                    left, right, y, y
                )
            )
            parts.append(_text(left - 6, y + 4, number(tick), "end"))
        for tick in self._x_ticks:
            parts.append(_text(self._place((tick, self.y_range[0]))[0], bottom + 18, number(tick), "middle"))
        parts.append(_text((left + right) / 2, bottom + 38, x_title, "middle"))
        turned = Markup('<text transform="translate(14 {:.1f}) rotate(-90)" text-anchor="middle">{}</text>')
        return Markup("").join([*parts, turned.format((_TOP + bottom) / 2, y_title)])

    def line(self, points: Sequence[tuple[float, float]], style: str) -> Markup:
        """A polyline."""
        places = " ".join("{:.1f},{:.1f}".format(*self._place(point)) for point in points)
        return Markup('<polyline class="{}" points="{}"/>').format(style, places)

    def dot(self, point: tuple[float, float], style: str) -> Markup:
        """A dot."""
        return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(style, *self._place(point))


def ticks(low: float, high: float, about: int = 5, whole: bool = False) -> list[float]:
    """Round numbers that enclose a range, about 5 of them, or whole ones.

    Examples
    --------
    >>> ticks(0.13, 0.88)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    rough = max((high - low) / about, float(whole))
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= 0.999 * rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{step * k:.12g}") for k in range(first, last + 1)]


def _extent(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _bar(bar: Bar, y: int, scale: float) -> Markup:
    middle = y + _ROW / 2 - 2
    parts = [
        _text(_LABELS - 8, middle + 4, shortened(bar.label, 26), "end"),
        Markup('<rect class="bar" x="{}" y="{}" width="{:.1f}" height="{}"/>').format(
            _LABELS, y + 2, bar.value * scale, _ROW - 8
        ),
        _text(WIDTH - 4, middle + 4, number(bar.value), "end"),
    ]
    if bar.interval:
        low, high = (_LABELS + end * scale for end in bar.interval)
        parts.append(
            Markup('<path class="whisker" d="M{:.1f} {}H{:.1f}M{:.1f} {}v8M{:.1f} {}v8"/>').format(
                low, middle, high, low, middle - 4, high, middle - 4
            )
        )
    if bar.mark is not None:
        x = _LABELS + bar.mark * scale
        parts.append(Markup('<path class="mark" d="M{:.1f} {}v{}"/>').format(x, y - 1, _ROW - 2))
    return Markup("").join(parts)


def _legend(name: str, style: int, y: int) -> Markup:
    sample = Markup('<path class="line s{}" d="M{} {}h30"/>').format(style, _LEFT, y)
    return sample + _text(_LEFT + 38, y + 4, shortened(name, 60), "start")


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _svg(title: str, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        title, WIDTH, height, Markup("").join(parts)
    )
