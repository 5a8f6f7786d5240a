"""Regions as seen in a picture: their rectangle, a point well inside them, their outline."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sgforge.draw.canvas import Canvas, Color, Point, Rect, color_of, ink_on
from sgforge.errors import GraphError
from sgforge.graph import Mask, Region
from sgforge.masks import to_crop

__all__ = ["Shape", "draw_shape", "shapes_of"]

_DEPTH_SIDE = 48  # cells along the longer side in which the point deepest inside a mask is looked for
_FILL = 64
_SMALL_SIDE = 5  # line widths; a smaller region is framed from outside, so that the frame does not cover it


@attrs.frozen(eq=False)
class Shape:
    """A region in picture pixels: `rect` cut to the picture, `anchor` inside the region, `area`, the pixels' `crop`.

    `crop` is the mask resized to `rect`, None for a region that is only a box.
    """

    index: int
    rect: Rect
    anchor: Point
    area: float
    color: Color
    crop: NDArray[np.bool_] | None


def shapes_of(regions: Mapping[int, Region], canvas: Canvas, scale: float, masks: bool) -> dict[int, Shape]:
    """The shapes of regions whose pixels are `scale` picture pixels wide; one without box and mask is an error."""
    return {index: _shape(index, region, canvas, scale, masks) for index, region in regions.items()}


def _shape(index: int, region: Region, canvas: Canvas, scale: float, masks: bool) -> Shape:
    mask = region.mask if masks else None
    box = mask.box if mask is not None and mask.box is not None else region.box
    if box is None and region.mask is not None:
        box = region.mask.box
    if box is None:
        raise GraphError(f"region {index} has neither box nor mask: it cannot be drawn")
    x0, x1 = (min(max(side * scale, 0.0), canvas.width) for side in (box[0], box[2]))
    y0, y1 = (min(max(side * scale, 0.0), canvas.height) for side in (box[1], box[3]))
    rect = Rect(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))
    if mask is None or mask.box is None:
        return Shape(
            index=index, rect=rect, anchor=rect.center, area=rect.width * rect.height, color=color_of(index), crop=None
        )
    whole = Rect(round(x0), round(y0), max(round(x1), round(x0) + 1), max(round(y1), round(y0) + 1))
    crop = _resized(mask, round(whole.width), round(whole.height))
    x, y = _deepest(crop)
    return Shape(
        index=index,
        rect=whole,
        anchor=(whole.x0 + x, whole.y0 + y),
        area=float(crop.sum()),
        color=color_of(index),
        crop=crop,
    )


def _resized(mask: Mask, width: int, height: int) -> NDArray[np.bool_]:
    crop = to_crop(mask)
    if crop.shape == (height, width):
        return crop
    picture = Image.fromarray(crop.view(np.uint8) * np.uint8(255)).resize((width, height), Image.Resampling.BOX)
    return np.asarray(picture) >= 96


def _deepest(crop: NDArray[np.bool_]) -> Point:
    """(x, y) of a pixel about as far from the mask's border as any."""
    step = max(1, -(-max(crop.shape) // _DEPTH_SIDE))
    inside = np.pad(crop[::step, ::step], 1)
    if not inside.any():
        y, x = np.argwhere(crop)[0] if crop.any() else (crop.shape[0] // 2, crop.shape[1] // 2)
        return float(x), float(y)
    while True:
        core = inside.copy()
        core[1:-1, 1:-1] &= inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        if not core.any():
            break
        inside = core
    cells = np.argwhere(inside)
    y, x = cells[np.abs(cells - cells.mean(axis=0)).sum(axis=1).argmin()] - 1
    return min(float(x * step), crop.shape[1] - 1.0) + 0.5, min(float(y * step), crop.shape[0] - 1.0) + 0.5


def draw_shape(canvas: Canvas, shape: Shape, *, fill: bool) -> None:
    """The outline of a region, edged to stand out on any ground; the mask's own contour where there is a mask."""
    line = canvas.unit * 1.5
    if shape.crop is None or min(shape.rect.width, shape.rect.height) < _SMALL_SIDE * line:
        small = min(shape.rect.width, shape.rect.height) < _SMALL_SIDE * line
        rect = shape.rect.grown(line + 1) if small else shape.rect
        canvas.frame(rect.grown(line * 0.6), ink_on(shape.color), line * 2.2, 150)
        canvas.frame(rect, shape.color, line)
        return
    _draw_contour(canvas, shape, line, fill)


def _draw_contour(canvas: Canvas, shape: Shape, line: float, fill: bool) -> None:
    assert shape.crop is not None
    margin = round(line) + 2
    mask = Image.fromarray(np.pad(shape.crop, margin).view(np.uint8) * np.uint8(255))
    width = 2 * max(1, round(line)) + 1
    outer = np.asarray(mask.filter(ImageFilter.MaxFilter(width))) > 0
    inner = np.asarray(mask.filter(ImageFilter.MinFilter(width))) > 0
    solid = np.asarray(mask) > 0
    at = round(shape.rect.x0) - margin, round(shape.rect.y0) - margin
    for pixels, color, alpha in (
        (inner & fill, shape.color, _FILL),
        (outer & ~solid, ink_on(shape.color), 150),
        (solid & ~inner, shape.color, 255),
    ):
        canvas.stencil(Image.fromarray(pixels.view(np.uint8) * np.uint8(255)), at, mask.size, color, alpha)
