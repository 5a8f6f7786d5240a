"""A recall-per-predicate bar chart as SVG text or PNG, drawn by ourselves: no plotting library is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import attrs

from sgforge.errors import ConfigError
from sgforge.stages import Report
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

__all__ = ["Bar", "check_plot", "plot_recall"]

_ROW = 18
_LEFT = 170
_WIDTH = 420
_TOP = 40
_COLORS = ("#4477aa", "#88ccee", "#ddddee", "#ccbb44", "#ee6677")


@attrs.frozen
class Bar:
    """One predicate: its name, its values at each K (fractions), how many images it occurs in."""

    name: str
    values: tuple[float, ...]
    images: int


def check_plot(path: Path) -> None:
    """Before any work: a `ConfigError` for a path that no plot can be written to."""
    if path.suffix not in (".svg", ".png"):
        raise ConfigError(f"a plot is written as .svg or .png, not as {path.name!r}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"plot {path}: the folder {path.parent} does not exist")


def plot_recall(report: Report, path: Path) -> None:
    """Write the recall of each predicate at every K to `path`, most frequent first; the suffix is .svg or .png."""
    check_plot(path)
    rows = report.tables.get("per_predicate", ())
    metrics = [key for key in (rows[0] if rows else {}) if key == "R" or key.startswith("R@")]
    bars = [Bar(row["predicate"], tuple(row[key] for key in metrics), row["images"]) for row in rows]
    bars.sort(key=lambda bar: (-bar.images, bar.name))
    title = f"{report.metric}, recall per predicate, convention {report.convention}"
    if path.suffix == ".svg":
        path.write_text(_svg(title, bars, metrics), encoding="utf-8")
    else:
        _png(title, bars, metrics, path)


def _label(bar: Bar) -> str:
    name = visible(bar.name)
    return name if len(name) <= 26 else f"{name[:25]}…"


def _rectangles(bar: Bar, row: int) -> list[tuple[float, float, float, float, str]]:
    """x, y, width, height, colour of a bar's rectangles: the largest K behind, the smallest in front."""
    y = _TOP + row * _ROW
    ordered = sorted(enumerate(bar.values), key=lambda item: -item[0])
    return [
        (_LEFT, y + 3 + 2 * (len(bar.values) - 1 - place), value * _WIDTH, _ROW - 6, _COLORS[place % len(_COLORS)])
        for place, value in ordered
    ]


def _legend(metrics: Sequence[str]) -> list[tuple[int, str, str]]:
    """x, colour and name of each K."""
    return [(_LEFT + 75 * place, _COLORS[place % len(_COLORS)], metric) for place, metric in enumerate(metrics)]


def _svg(title: str, bars: Sequence[Bar], metrics: Sequence[str]) -> str:
    height = _TOP + len(bars) * _ROW + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 80}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="18" font-size="12">{escape(title)}</text>',
    ]
    for x, color, name in _legend(metrics):
        parts.append(f'<circle cx="{x}" cy="28" r="4" fill="{color}"/><text x="{x + 8}" y="32">{escape(name)}</text>')
    for tick in range(6):
        x = _LEFT + _WIDTH * tick / 5
        parts.append(f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{height - 20}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x}" y="{height - 6}" text-anchor="middle">{tick * 20} %</text>')
    for row, bar in enumerate(bars):
        y = _TOP + row * _ROW + 12
        parts.append(f'<text x="{_LEFT - 6}" y="{y}" text-anchor="end">{escape(_label(bar))}</text>')
        parts += [
            f'<rect x="{x}" y="{top}" width="{width:.2f}" height="{tall}" fill="{color}"/>'
            for x, top, width, tall, color in _rectangles(bar, row)
        ]
        parts.append(f'<text x="{_LEFT + _WIDTH + 6}" y="{y}">{counted(bar.images, "image")}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _png(title: str, bars: Sequence[Bar], metrics: Sequence[str], path: Path) -> None:
    from PIL import Image, ImageDraw

    height = _TOP + len(bars) * _ROW + 20
    image = Image.new("RGB", (_LEFT + _WIDTH + 80, height), "white")
    draw: Any = ImageDraw.Draw(image)
    draw.text((10, 6), title, fill="black")
    for left, color, name in _legend(metrics):
        draw.ellipse([(left - 4, 24), (left + 4, 32)], fill=color)
        draw.text((left + 8, 28), name, fill="black", anchor="lm")
    for tick in range(6):
        x = _LEFT + _WIDTH * tick / 5
        draw.line([(x, _TOP), (x, height - 20)], fill="#dddddd")
        draw.text((x, height - 14), f"{tick * 20} %", fill="black", anchor="ma")
    for row, bar in enumerate(bars):
        middle = _TOP + row * _ROW + _ROW / 2
        draw.text((_LEFT - 6, middle), _label(bar).replace("…", "..."), fill="black", anchor="rm")
        for x, top, width, tall, color in _rectangles(bar, row):
            draw.rectangle([(x, top), (x + width, top + tall)], fill=color)
        draw.text((_LEFT + _WIDTH + 6, middle), f"{counted(bar.images, 'image')}", fill="black", anchor="lm")
    image.save(path)
