"""Regions, numbered marks and relations drawn on an image (PIL)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PIL import Image

from sgforge.draw.canvas import LIGHT, Canvas, Color, Point, Rect, clean_text, ink_on
from sgforge.draw.places import Place, Places
from sgforge.draw.shapes import Shape, draw_shape, shapes_of
from sgforge.graph import Region, SceneGraph

__all__ = ["draw_graph", "draw_marks"]

_PREDICATES_ON_AN_ARROW = 3
_CURVE_STEPS = 24


def draw_graph(
    image: Image.Image,
    graph: SceneGraph,
    *,
    masks: bool = True,
    labels: bool = True,
    relations: bool = True,
    scale: float = 1.0,
) -> Image.Image:
    """A copy of `image` (RGB) with the kept regions and relations of `graph`.

    `masks` draws masks where there are any, else only boxes; `labels` writes them beside the regions; `relations` draws
    an arrow from subject to object with its predicates. `scale`: picture pixels per pixel of the graph. A region with
    neither box nor mask is a `GraphError`.
    """
    canvas = Canvas(image)
    shapes = shapes_of(graph.regions, canvas, scale, masks)
    for shape in _largest_first(shapes):
        draw_shape(canvas, shape, fill=True)
    places = Places(canvas, shapes.values())
    plates: list[tuple[Place, Shape, str]] = []
    if relations:
        for index in {end for relation in graph.relations.values() for end in (relation.subject, relation.object)}:
            places.keep_free(shapes[index].anchor, 7 * canvas.unit)
    if labels:
        texts = {index: clean_text(region.label or "") for index, region in graph.regions.items()}
        plates = _place_all(canvas, places, shapes, {index: text for index, text in texts.items() if text})
    if relations:
        _draw_relations(canvas, graph, shapes, places)
    _draw_plates(canvas, plates)
    return canvas.picture()


def draw_marks(
    image: Image.Image, regions: Mapping[int, Region], numbers: Mapping[int, int] | None = None, *, scale: float = 1.0
) -> Image.Image:
    """A copy of `image` (RGB) with a numbered mark for each region and the region's outline.

    `numbers` gives the number of each region's mark, by default its index. A mark lies on its region only where it
    covers a small share of it; that of a small region stands beside it, with a line to it. `scale` as in `draw_graph`.
    """
    canvas = Canvas(image)
    shapes = shapes_of(regions, canvas, scale, masks=True)
    for shape in _largest_first(shapes):
        draw_shape(canvas, shape, fill=False)
    texts = {index: str(index if numbers is None else numbers[index]) for index in regions}
    _draw_plates(canvas, _place_all(canvas, Places(canvas, shapes.values()), shapes, texts))
    return canvas.picture()


def _largest_first(shapes: Mapping[int, Shape]) -> list[Shape]:
    return sorted(shapes.values(), key=lambda shape: -shape.area)


def _place_all(
    canvas: Canvas, places: Places, shapes: Mapping[int, Shape], texts: Mapping[int, str]
) -> list[tuple[Place, Shape, str]]:
    """Places of all texts; small regions choose first, since large ones have more room."""
    order = sorted(texts, key=lambda index: shapes[index].area)
    return [
        (places.for_shape(shapes[index], canvas.text_size(texts[index])), shapes[index], texts[index])
        for index in order
    ]


def _draw_plates(canvas: Canvas, plates: list[tuple[Place, Shape, str]]) -> None:
    for place, shape, _ in plates:
        if place.leader is not None:
            canvas.line(list(place.leader), ink_on(shape.color), 2.6 * canvas.unit, 200)
            canvas.line(list(place.leader), shape.color, 1.2 * canvas.unit)
            canvas.dot(place.leader[1], 1.6 * canvas.unit, shape.color)
    for place, shape, text in plates:
        canvas.badge(place.rect, text, shape.color)


def _draw_relations(canvas: Canvas, graph: SceneGraph, shapes: Mapping[int, Shape], places: Places) -> None:
    """One arrow per pair of regions, bent to its right, so that the two directions of a pair stay apart."""
    predicates: dict[tuple[int, int], list[str]] = {}
    for relation in graph.relations.values():
        texts = predicates.setdefault((relation.subject, relation.object), [])
        text = clean_text(relation.predicate)
        if text not in texts:
            texts.append(text)
    labels: list[tuple[Rect, str]] = []
    for (subject, target), texts in predicates.items():
        path = _curve(shapes[subject].anchor, shapes[target].anchor, 40 * canvas.unit)
        color = shapes[subject].color
        _draw_arrow(canvas, path, color)
        more = len(texts) - _PREDICATES_ON_AN_ARROW
        text = ", ".join(texts[:_PREDICATES_ON_AN_ARROW]) + (f" +{more}" if more > 0 else "")
        labels.append((places.along(path, canvas.text_size(text, 0.85)), text))
    for rect, text in labels:
        canvas.badge(rect, text, LIGHT, 0.85)


def _curve(start: Point, end: Point, most: float) -> list[Point]:
    """Points from start to end, bent by a sixth of the way, `most` pixels at most."""
    length = max(math.dist(start, end), 1.0)
    bend = min(length / 6, most) / length
    middle = (
        (start[0] + end[0]) / 2 - (end[1] - start[1]) * bend,
        (start[1] + end[1]) / 2 + (end[0] - start[0]) * bend,
    )
    points = []
    for step in range(_CURVE_STEPS + 1):
        t = step / _CURVE_STEPS
        points.append(
            (
                (1 - t) ** 2 * start[0] + 2 * t * (1 - t) * middle[0] + t**2 * end[0],
                (1 - t) ** 2 * start[1] + 2 * t * (1 - t) * middle[1] + t**2 * end[1],
            )
        )
    return points


def _draw_arrow(canvas: Canvas, path: list[Point], color: Color) -> None:
    unit = canvas.unit
    edge = ink_on(color)
    canvas.line(path, edge, 3.6 * unit, 200)
    canvas.dot(path[0], 3.6 * unit, edge)
    head = _head(path, 9.5 * unit)
    canvas.line([*head, *head[:2]], edge, 2.2 * unit, 200)
    canvas.line(path, color, 1.8 * unit)
    canvas.dot(path[0], 2.6 * unit, color)
    canvas.polygon(head, color)


def _head(path: list[Point], size: float) -> list[Point]:
    """The triangle at the end of a path, pointing along it."""
    (x0, y0), (x1, y1) = path[-4], path[-1]
    length = max(math.dist((x0, y0), (x1, y1)), 1e-6)
    along, across = ((x1 - x0) / length, (y1 - y0) / length), ((y0 - y1) / length, (x1 - x0) / length)
    back = x1 - along[0] * size, y1 - along[1] * size
    tip = x1 + along[0] * size * 0.15, y1 + along[1] * size * 0.15
    half = size * 0.48
    return [
        tip,
        (back[0] + across[0] * half, back[1] + across[1] * half),
        (back[0] - across[0] * half, back[1] - across[1] * half),
    ]
