"""What the boxes and masks of two regions measure against each other, for arrays of pairs at once."""

from __future__ import annotations

from typing import Self

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.spatial.geometry import Geometry

__all__ = ["Layout"]

Floats = NDArray[np.float64]


@attrs.frozen(eq=False)
class Layout:
    """Measurements of P ordered pairs of boxes, each a (P,) float64 array; NaN where a box is unknown.

    `dx`, `dy`: from centre to centre (object minus subject), pixels. `shift_x`, `shift_y`: how far the object lies to
    the right of, or below, the subject, both edges counted, in units of the narrower (lower) box; below -1 or above 1
    when they lie apart. `gap_x`, `gap_y`: empty pixels between them along the axis, 0 if they share any. `overlap_x`,
    `overlap_y`: shared length over the shorter one, in [0, 1]. `cover`, `cover_inverse`: share of the subject within
    the object and the other way round, in [0, 1]. `area_ratio`: area of the subject over the object's. `size`:
    geometric mean of the square roots of both areas, pixels. `rise`: how much higher the subject's upper edge is than
    the object's, in heights of the lower box. `sink`: how far the subject's lower edge is from the object's height (0
    within it), in heights of the lower box, or in halves of `size` where that is more: boxes around thin things (skis,
    a wire) are not drawn to a part of their height; `sink_inverse`: the same of the object's. `foot`: how much
    lower the subject's lower edge is than the object's, in heights of the subject. `reach_x`: half of the wider width,
    pixels.
    """

    dx: Floats
    dy: Floats
    shift_x: Floats
    shift_y: Floats
    gap_x: Floats
    gap_y: Floats
    overlap_x: Floats
    overlap_y: Floats
    cover: Floats
    cover_inverse: Floats
    area_ratio: Floats
    size: Floats
    rise: Floats
    sink: Floats
    sink_inverse: Floats
    foot: Floats
    reach_x: Floats

    @property
    def gap(self) -> Floats:
        """(P,) Euclidean distance between the two boxes, pixels; 0 where they touch or overlap."""
        distance: Floats = np.hypot(self.gap_x, self.gap_y)
        return distance

    @classmethod
    def of(cls, geometry: Geometry, pairs: NDArray[np.integer]) -> Self:
        """The measurements of the boxes of `pairs`, (P, 2) indices of subject and object."""
        return cls.of_boxes(geometry.boxes[pairs[:, 0]], geometry.boxes[pairs[:, 1]])

    @classmethod
    def of_boxes(cls, subjects: NDArray[np.floating], objects: NDArray[np.floating]) -> Self:
        """The measurements of P subject boxes against P object boxes, both (P, 4) xyxy with positive sides."""
        a, b = np.asarray(subjects, np.float64).T, np.asarray(objects, np.float64).T
        wa, ha, wb, hb = a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1]
        shared_x = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
        shared_y = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
        narrow, low = np.minimum(wa, wb), np.minimum(ha, hb)
        shared = np.maximum(shared_x, 0) * np.maximum(shared_y, 0)
        size = np.sqrt(np.sqrt(wa * ha) * np.sqrt(wb * hb))
        tolerance = np.maximum(low, size / 2)
        return cls(
            dx=((b[0] - a[0]) + (b[2] - a[2])) / 2,
            dy=((b[1] - a[1]) + (b[3] - a[3])) / 2,
            shift_x=_shift(b[0] - a[0], b[2] - a[2]) / narrow,
            shift_y=_shift(b[1] - a[1], b[3] - a[3]) / low,
            gap_x=np.maximum(-shared_x, 0),
            gap_y=np.maximum(-shared_y, 0),
            overlap_x=np.clip(shared_x / narrow, 0, 1),
            overlap_y=np.clip(shared_y / low, 0, 1),
            cover=np.clip(shared / (wa * ha), 0, 1),
            cover_inverse=np.clip(shared / (wb * hb), 0, 1),
            area_ratio=(wa * ha) / (wb * hb),
            size=size,
            rise=(b[1] - a[1]) / low,
            sink=np.maximum(np.maximum(b[1] - a[3], a[3] - b[3]), 0) / tolerance,
            sink_inverse=np.maximum(np.maximum(a[1] - b[3], b[3] - a[3]), 0) / tolerance,
            foot=(a[3] - b[3]) / ha,
            reach_x=np.maximum(wa, wb) / 2,
        )


def _shift(first: Floats, second: Floats) -> Floats:
    """The smaller of two edge displacements of one sign; 0 where one box spans the other."""
    together = np.sign(first) == np.sign(second)
    shift: Floats = np.where(together, np.sign(first) * np.minimum(np.abs(first), np.abs(second)), 0.0)
    return np.where(np.isnan(first), np.nan, shift)
