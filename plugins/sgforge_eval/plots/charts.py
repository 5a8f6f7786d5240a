"""Charts that papers show of scene graphs: recall per predicate and over K, reliability of scores, cost of recall.

One style for all: plain axes, fractions as per cent, shades and markers that are told apart in grey.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from sgforge.stages import Report
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted
from sgforge_eval.plots.canvas import SHADES, Canvas, Marker, check_plot

__all__ = ["Bin", "Curve", "Point", "plot_cost", "plot_curves", "plot_recall", "plot_reliability"]

_ROW: Final = 18
_LEFT: Final = 170
_BAR: Final = 420
_TOP: Final = 40
_WIDE: Final = 460
_HIGH: Final = 340
_NAME, _LINE = 90, 11  # about how wide a name is, and how high
_MARGIN: Final = (60, 40, 20, 45)  # left, top, right, bottom of an area chart
_GRID: Final = "#dddddd"
_MARKERS: Final[tuple[Marker, ...]] = ("circle", "square", "triangle", "diamond")
_DASHES: Final = ((), (6, 3), (2, 2), (8, 2, 2, 2))


@attrs.frozen
class Curve:
    """One metric over its cuts: `ks` ascending, `values` fractions."""

    name: str
    ks: tuple[int, ...]
    values: tuple[float, ...]


@attrs.frozen
class Bin:
    """Listed triplets of like score: their mean score, the share that is right, how many they are."""

    score: float
    right: float
    count: int


@attrs.frozen
class Point:
    """One run or model: its name, what it cost in US dollars, its recall."""

    name: str
    cost: float
    recall: float


def plot_recall(report: Report, path: Path) -> None:
    """Recall of each predicate at every K, the most frequent first, with the images it occurs in."""
    check_plot(path)
    rows = report.tables.get("per_predicate", ())
    metrics = [key for key in (rows[0] if rows else {}) if key == "R" or key.startswith("R@")]
    ordered = sorted(rows, key=lambda row: (-row["images"], row["predicate"]))
    canvas = Canvas(_LEFT + _BAR + 80, _TOP + len(ordered) * _ROW + 20)
    canvas.text(10, 14, f"{report.metric}, recall per predicate, convention {report.convention}", size=12)
    for place, metric in enumerate(metrics):
        canvas.marker(_LEFT + 75 * place, 28, "square", SHADES[place % len(SHADES)], 4)
        canvas.text(_LEFT + 75 * place + 8, 28, metric)
    for tick in range(6):
        x = _LEFT + _BAR * tick / 5
        canvas.line([(x, _TOP), (x, canvas.height - 20)], _GRID)
        canvas.text(x, canvas.height - 10, f"{tick * 20} %", "middle")
    for number, row in enumerate(ordered):
        top = _TOP + number * _ROW
        name = visible(row["predicate"])
        canvas.text(_LEFT - 6, top + _ROW / 2, name if len(name) <= 26 else f"{name[:25]}...", "end")
        for place in reversed(range(len(metrics))):
            above = 3 + 2 * (len(metrics) - 1 - place)
            width = row[metrics[place]] * _BAR
            canvas.rectangle(_LEFT, top + above, width, _ROW - 6, SHADES[place % len(SHADES)])
        canvas.text(_LEFT + _BAR + 6, top + _ROW / 2, counted(row["images"], "image"))
    canvas.write(path)


@attrs.frozen
class _Axes:
    """An area chart: data from (0, 0) to (`right`, 1) in the frame of a canvas."""

    canvas: Canvas
    right: float

    @classmethod
    def of(cls, title: str, below: str, beside: str, right: float, ticks: Sequence[float]) -> _Axes:
        canvas = Canvas(_WIDE, _HIGH)
        axes = cls(canvas, right)
        left, top, _, bottom = _MARGIN
        canvas.text(left, 14, title, size=12)
        for tick in range(6):
            y = axes.y(tick / 5)
            canvas.line([(left, y), (axes.x(right), y)], _GRID)
            canvas.text(left - 6, y, f"{tick * 20} %", "end")
        for tick_value in ticks:
            canvas.text(axes.x(tick_value), _HIGH - bottom + 12, f"{tick_value:g}", "middle")
        canvas.line([(left, top), (left, _HIGH - bottom), (axes.x(right), _HIGH - bottom)])
        canvas.text((left + axes.x(right)) / 2, _HIGH - 12, below, "middle")
        canvas.text(4, 28, beside)
        return axes

    def x(self, value: float) -> float:
        left, _, right, _ = _MARGIN
        return left + (_WIDE - left - right) * value / self.right

    def y(self, value: float) -> float:
        _, top, _, bottom = _MARGIN
        return _HIGH - bottom - (_HIGH - top - bottom) * value


def _ticks(right: float) -> list[float]:
    """Up to six round numbers from 0 to `right`."""
    step = 10 ** math.floor(math.log10(right / 5)) if right > 0 else 1.0
    step = next(step * factor for factor in (1, 2, 5, 10) if step * factor * 5 >= right * 0.999)
    return [step * number for number in range(int(right / step + 1e-9) + 1)]


def plot_curves(title: str, curves: Sequence[Curve], path: Path) -> None:
    """Recall over K; every curve has its own shade, dashes and marker."""
    right = float(max(curve.ks[-1] for curve in curves))
    axes = _Axes.of(title, "K", "recall", right, _ticks(right))
    for place, curve in enumerate(curves):
        shade = SHADES[place % len(SHADES)]
        points = [(axes.x(k), axes.y(value)) for k, value in zip(curve.ks, curve.values, strict=True)]
        axes.canvas.line(points, shade, 1.8, _DASHES[place % len(_DASHES)])
        for x, y in points[:: max(1, len(points) // 6)]:
            axes.canvas.marker(x, y, _MARKERS[place % len(_MARKERS)], shade)
        axes.canvas.marker(150 + 90 * place, 28, _MARKERS[place % len(_MARKERS)], shade)
        axes.canvas.text(158 + 90 * place, 28, curve.name)
    axes.canvas.write(path)


def plot_reliability(title: str, bins: Sequence[Bin], path: Path) -> None:
    """The share of listed triplets that is right over their score; the dashed line is a score that tells the truth."""
    axes = _Axes.of(title, "score", "right", 1.0, _ticks(1.0))
    axes.canvas.line([(axes.x(0), axes.y(0)), (axes.x(1), axes.y(1))], "#777777", 1.2, (5, 4))
    most = max((found.count for found in bins), default=1)
    for found in bins:
        size = 2.5 + 4 * math.sqrt(found.count / most)
        axes.canvas.marker(axes.x(found.score), axes.y(found.right), "circle", SHADES[0], size)
        axes.canvas.text(axes.x(found.score), axes.y(found.right) - 12, str(found.count), "middle", 8)
    axes.canvas.line([(axes.x(found.score), axes.y(found.right)) for found in bins], SHADES[0], 1.2)
    axes.canvas.write(path)


def _free_place(x: float, y: float, taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Beside a point, above or below it: the first place on whose line no name stands close by."""
    places = [(x, y + shift) for shift in (-8, 12, -20, 24, -32, 36)]
    near = [any(abs(x - other) < _NAME and abs(at - line) < _LINE for other, line in taken) for _, at in places]
    return next((place for place, is_near in zip(places, near, strict=True) if not is_near), places[0])


def plot_cost(title: str, points: Sequence[Point], path: Path) -> None:
    """Recall over what it cost, each point by name; those that no cheaper one reaches are joined by a line."""
    right = max((point.cost for point in points), default=0.0) * 1.15 or 1.0
    axes = _Axes.of(title, "US dollars", "recall", right, _ticks(right))
    best: list[tuple[float, float]] = []
    reached = -1.0
    for point in sorted(points, key=lambda point: (point.cost, -point.recall)):
        if point.recall > reached:
            reached = point.recall
            best.append((axes.x(point.cost), axes.y(point.recall)))
    axes.canvas.line(best, "#777777", 1.2, (5, 4))
    taken: list[tuple[float, float]] = []
    for place, point in enumerate(points):
        x, y = axes.x(point.cost), axes.y(point.recall)
        axes.canvas.marker(x, y, _MARKERS[place % len(_MARKERS)], SHADES[place % 2], 4.5)
        taken.append(_free_place(x + 8, y, taken))
        axes.canvas.text(*taken[-1], visible(point.name))
    axes.canvas.write(path)
