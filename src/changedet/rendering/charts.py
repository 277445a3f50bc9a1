"""Charts of a page, as SVG: they follow its colours, can be printed, and need no library."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from changedet.errors import DataError

Scale: TypeAlias = Literal["linear", "log"]
Style: TypeAlias = Literal["line", "dashed", "steps", "points"]

#: Size of a chart in its own units; a page shows it as wide as there is room.
WIDTH, HEIGHT = 640, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 16, 14, 52
_TICKS = 6
#: Lines of one chart that can be told apart.
MOST_LINES = 6


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        title: What is measured.
        low: Its first value; None: the least one of the data.
        high: Its last value; None: the greatest one of the data.
        scale: Even steps, or even factors (values of 0 lie at the low end).
        labels: Names of the places 0, 1, 2, ..., where it has no numbers.
    """

    title: str
    low: float | None = None
    high: float | None = None
    scale: Scale = "linear"
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: For the legend; a chart whose lines have no name has none.
        points: (x, y); where y is no number, the line has a gap.
        style: How it is drawn; steps keep a value up to the next point.
        intervals: Ends of an interval of y for each point, drawn as a bar, or nothing.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: Style = "line"
    intervals: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Chart:
    """Lines over a common axis.

    Attributes:
        caption: What the chart shows.
        x: The horizontal axis.
        y: The vertical axis.
        lines: At most six, told apart by colour and pattern.
        note: A line below.
        marker: Name by which a script finds the mark that it moves on the first line; without one
            there is no mark.
    """

    caption: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    note: str = ""
    marker: str = ""


class Tick(NamedTuple):
    """A mark of an axis: where, and what stands at it."""

    at: float
    text: str


class Bar(NamedTuple):
    """An interval around a point, and the point."""

    x: float
    y: float
    top: float
    bottom: float


class Drawn(NamedTuple):
    """A line as it is drawn: the SVG path, dots, and bars of intervals."""

    name: str
    style: Style
    path: str
    dots: list[tuple[float, float]]
    bars: list[Bar]


@dataclass(frozen=True)
class Drawing:
    """A chart in its own units, ready for a template.

    Attributes:
        frame: Left, top, right and bottom of the area of the lines.
        x_ticks: Marks of the horizontal axis.
        y_ticks: Marks of the vertical axis.
        lines: The lines.
        ends: Values at the frame's left, right, bottom and top.
    """

    frame: tuple[float, float, float, float]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Drawn] = field(default_factory=list)
    ends: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)

    @property
    def has_legend(self) -> bool:
        """Whether its lines have names."""
        return any(line.name for line in self.lines)


def draw(chart: Chart) -> Drawing:
    """Work out where everything lies.

    Raises:
        DataError: If a line has intervals for some of its points only.
    """
    for line in chart.lines:
        if line.intervals and len(line.intervals) != len(line.points):
            raise DataError(
                f"line {line.name!r} of chart {chart.caption!r} has {len(line.points)} points and "
                f"{len(line.intervals)} intervals"
            )
    left, top, right, bottom = _LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM
    across = _Span.of(chart.x, [x for line in chart.lines for x, _ in line.points])
    up = _Span.of(chart.y, list(_heights(chart.lines)))

    def place_x(value: float) -> float:
        return left + (right - left) * across.share(value)

    def place_y(value: float) -> float:
        return bottom - (bottom - top) * up.share(value)

    lines = []
    for line in chart.lines:
        placed = [
            None if math.isnan(x) or math.isnan(y) else (place_x(x), place_y(y))
            for x, y in line.points
        ]
        bars = [
            Bar(*point, place_y(high), place_y(low))
            for point, (low, high) in zip(placed, line.intervals, strict=False)
            if point is not None and not (math.isnan(low) or math.isnan(high))
        ]
        dots = [point for point in placed if point is not None]
        is_dotted = line.style == "points" or len(dots) <= 12
        lines.append(
            Drawn(line.name, line.style, _path(placed, line.style), dots if is_dotted else [], bars)
        )
    return Drawing(
        (left, top, right, bottom),
        [Tick(place_x(value), text) for value, text in across.ticks(chart.x)],
        [Tick(place_y(value), text) for value, text in up.ticks(chart.y)],
        lines,
        (across.low, across.high, up.low, up.high),
    )


def _heights(lines: Sequence[Line]) -> Iterator[float]:
    for line in lines:
        yield from (y for _, y in line.points)
        for low, high in line.intervals:
            yield low
            yield high


class _Span(NamedTuple):
    """The values that an axis shows."""

    low: float
    high: float
    scale: Scale

    @classmethod
    def of(cls, axis: Axis, values: Sequence[float]) -> _Span:
        if axis.labels:
            return cls(-0.5, len(axis.labels) - 0.5, "linear")
        finite = [value for value in values if math.isfinite(value)]
        if axis.scale == "log":
            finite = [value for value in finite if value > 0]
        low = axis.low if axis.low is not None else min(finite, default=0.0)
        high = axis.high if axis.high is not None else max(finite, default=1.0)
        if axis.scale == "log":
            # Whole powers of ten; of one value alone the one below it, too.
            low = 10.0 ** math.floor(math.log10(low if low > 0 else 1.0))
            high = max(10.0 ** math.ceil(math.log10(max(high, low))), 10 * low)
        elif high <= low:
            low, high = low - 0.5, high + 0.5
        return cls(low, high, axis.scale)

    def share(self, value: float) -> float:
        if self.scale == "log":
            if value <= self.low:
                return 0.0
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))

    def ticks(self, axis: Axis) -> list[tuple[float, str]]:
        if axis.labels:
            return [(float(place), label) for place, label in enumerate(axis.labels)]
        if self.scale == "log":
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            powers = range(first, last + 1, max(1, math.ceil((last - first) / _TICKS)))
            return [(10.0**power, _short(10.0**power)) for power in powers]
        step = _even_step((self.high - self.low) / _TICKS)
        places = range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
        return [(place * step, _short(place * step)) for place in places]


def _even_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _short(value: float) -> str:
    if value and abs(value) >= 1000:
        for unit, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= unit:
                return f"{value / unit:.3g}{word}"
    if value and abs(value) < 0.001:
        mantissa, _, power = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(power)}"
    return f"{value:.3g}"


def _path(points: Sequence[tuple[float, float] | None], style: Style) -> str:
    if style == "points":
        return ""
    parts, is_down, height = [], False, 0.0
    for point in points:
        if point is None:
            is_down = False
            continue
        x, y = point
        if not is_down:
            parts.append(f"M{x:.1f} {y:.1f}")
        elif style == "steps":
            parts.append(f"L{x:.1f} {height:.1f}L{x:.1f} {y:.1f}")
        else:
            parts.append(f"L{x:.1f} {y:.1f}")
        is_down, height = True, y
    return "".join(parts)
