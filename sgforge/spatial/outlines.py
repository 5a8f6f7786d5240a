"""What masks add to the boxes: containment by spans, contact of the lower outline, and nearness of two masks.

Masks of one picture mostly share no pixel, since each pixel shows one thing. So a region counts as within another
where it lies in the rows and columns that the other's mask spans: the person behind a car's window is inside the car.
"""

from __future__ import annotations

from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.graph import Mask
from sgforge.masks import to_crop
from sgforge.spatial.geometry import Geometry
from sgforge.spatial.layout import Floats, Layout

__all__ = ["Contacts", "Outlines"]

Bools = NDArray[np.bool_]

_REACH: Final = 0.01
"""How near counts as contact: this share of the square root of the frame's area, at least one pixel."""


@attrs.frozen(eq=False)
class Contacts:
    """Mask measurements of P ordered pairs, each a (P,) float64 array in [0, 1], NaN where one has no mask.

    `layout`: the boxes' measurements with containment and area by masks. `contact`: share of the subject's lower
    outline in contact with the object. `adjoins`: whether the masks come near each other. `roof`: share of the object's
    columns in which the subject begins above it and does not reach below it.
    """

    layout: Layout
    contact: Floats
    adjoins: Floats
    roof: Floats


@attrs.frozen(eq=False)
class _Outline:
    """One decoded mask: its crop at (`x`, `y`), the crop filled to its spans, and the crop grown by the reach.

    `columns`: whether a column has a pixel; `upper` and `lower`: the first and the last row of it in each.
    """

    x: int
    y: int
    pixels: Bools
    spans: Bools
    grown: Bools
    area: int
    spans_area: int
    columns: Bools
    upper: NDArray[np.int64]
    lower: NDArray[np.int64]

    @classmethod
    def of(cls, mask: Mask, reach: int) -> _Outline:
        pixels = np.ascontiguousarray(to_crop(mask))
        height = pixels.shape[0]
        spans = _between(pixels, 0) & _between(pixels, 1)
        return cls(
            x=mask.x,
            y=mask.y,
            pixels=pixels,
            spans=spans,
            grown=_grow(pixels, reach),
            area=int(pixels.sum()),
            spans_area=int(spans.sum()),
            columns=np.logical_or.reduce(pixels, axis=0),
            upper=np.argmax(pixels, axis=0),
            lower=height - 1 - np.argmax(pixels[::-1], axis=0),
        )


@attrs.define(eq=False)
class Outlines:
    """The decoded masks of one image, each decoded once, on demand."""

    _geometry: Geometry
    _reach: int = attrs.field(init=False)
    _known: dict[int, _Outline] = attrs.field(init=False, factory=dict)
    _crops: NDArray[np.int64] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        masks = self._geometry.masks
        frame = next((mask for mask in masks if mask is not None), None)
        self._reach = 1 if frame is None else max(1, round(_REACH * (frame.height * frame.width) ** 0.5))
        crops = [
            (-1, -1, -1, -1) if mask is None else (mask.x, mask.y, mask.x + mask.crop_width, mask.y + mask.crop_height)
            for mask in masks
        ]
        self._crops = np.asarray(crops, np.int64).reshape(-1, 4)

    def refine(self, layout: Layout, pairs: NDArray[np.int64]) -> Contacts:
        """`layout` with containment and area measured on masks where both regions have one, and their contacts."""
        a, b = self._crops[pairs[:, 0]], self._crops[pairs[:, 1]]
        both = (a[:, 0] >= 0) & (b[:, 0] >= 0)
        contact, adjoins, roof = (np.where(both, 0.0, np.nan) for _ in range(3))
        if not both.any():
            return Contacts(layout, contact, adjoins, roof)
        apart = np.maximum(a[:, :2], b[:, :2]) - np.minimum(a[:, 2:], b[:, 2:])
        meeting = np.flatnonzero(both & (apart <= self._reach).all(axis=1))
        cover, cover_inverse = np.where(both, 0.0, layout.cover), np.where(both, 0.0, layout.cover_inverse)
        ratio = layout.area_ratio.copy()
        for row in meeting:
            one, other = self._outline(int(pairs[row, 0])), self._outline(int(pairs[row, 1]))
            cover[row] = _shared(one.pixels, one, other.spans, other) / one.area
            cover_inverse[row] = _shared(other.pixels, other, one.spans, one) / other.area
            ratio[row] = one.area / other.spans_area
            adjoins[row] = float(self._meets(one, other))
            contact[row] = self._lower_contact(one, other) if adjoins[row] else 0.0
            roof[row] = _roof(one, other)
        refined = attrs.evolve(layout, cover=cover, cover_inverse=cover_inverse, area_ratio=ratio)
        return Contacts(refined, contact, adjoins, roof)

    def _outline(self, index: int) -> _Outline:
        known = self._known.get(index)
        if known is None:
            mask = self._geometry.masks[index]
            assert mask is not None  # rows without a mask are never asked for
            known = self._known[index] = _Outline.of(mask, self._reach)
        return known

    def _meets(self, one: _Outline, other: _Outline) -> bool:
        """Whether some pixel of each lies within the reach of the other."""
        height, width = one.pixels.shape
        x0, y0 = one.x - self._reach, one.y - self._reach
        left, top = max(x0, other.x), max(y0, other.y)
        right = min(one.x + width + self._reach, other.x + other.pixels.shape[1])
        bottom = min(one.y + height + self._reach, other.y + other.pixels.shape[0])
        if left >= right or top >= bottom:
            return False
        mine = one.grown[top - y0 : bottom - y0, left - x0 : right - x0]
        theirs = other.pixels[top - other.y : bottom - other.y, left - other.x : right - other.x]
        return bool((mine & theirs).any())

    def _lower_contact(self, one: _Outline, other: _Outline) -> float:
        """Share of the columns of `one` whose lowest pixel has a pixel of `other` at most the reach below it."""
        height, width = other.pixels.shape
        columns = np.arange(len(one.lower)) + (one.x - other.x)
        rows = (one.lower + (one.y - other.y))[:, None] + np.arange(self._reach + 1)
        within = ((columns >= 0) & (columns < width))[:, None] & (rows >= 0) & (rows < height)
        hit = other.pixels[np.where(within, rows, 0), np.where(within, columns[:, None], 0)] & within
        return float(hit.any(axis=1)[one.columns].mean())


def _roof(one: _Outline, other: _Outline) -> float:
    """Share of the columns of `other` in which `one` begins above it and does not reach below it."""
    left, right = max(one.x, other.x), min(one.x + len(one.columns), other.x + len(other.columns))
    if left >= right:
        return 0.0
    mine, theirs = slice(left - one.x, right - one.x), slice(left - other.x, right - other.x)
    above = one.upper[mine] + one.y < other.upper[theirs] + other.y
    ends = one.lower[mine] + one.y <= other.lower[theirs] + other.y
    spans = one.columns[mine] & other.columns[theirs] & above & ends
    return float(np.count_nonzero(spans) / np.count_nonzero(other.columns))


def _shared(mine: Bools, one: _Outline, theirs: Bools, other: _Outline) -> int:
    """Pixels that two crops of one frame share."""
    left, top = max(one.x, other.x), max(one.y, other.y)
    right = min(one.x + mine.shape[1], other.x + theirs.shape[1])
    bottom = min(one.y + mine.shape[0], other.y + theirs.shape[0])
    if left >= right or top >= bottom:
        return 0
    a = mine[top - one.y : bottom - one.y, left - one.x : right - one.x]
    b = theirs[top - other.y : bottom - other.y, left - other.x : right - other.x]
    return int(np.count_nonzero(a & b))


def _between(pixels: Bools, axis: int) -> Bools:
    """Whether a place has a pixel on both sides of it along `axis`, itself included."""
    before = np.logical_or.accumulate(pixels, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(pixels, axis), axis=axis), axis)
    between: Bools = before & after
    return between


def _grow(pixels: Bools, reach: int) -> Bools:
    """The crop grown by `reach` pixels to every side, diagonals included."""
    grown = np.pad(pixels, reach)
    for axis in (0, 1):
        sums = np.cumsum(np.pad(grown, [(reach + 1, reach) if a == axis else (0, 0) for a in (0, 1)]), axis, np.int32)
        wide = 2 * reach + 1
        ahead, behind = np.split(sums, [wide], axis)[1], np.split(sums, [sums.shape[axis] - wide], axis)[0]
        grown = ahead > behind
    return grown
