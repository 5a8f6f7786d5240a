"""The layout of a pair of boxes, quantised: which of a few hundred cells it falls into."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sgforge.spatial import Layout

__all__ = ["CELLS", "UNPLACED", "cells_of"]

Ints = NDArray[np.int64]

_SHIFTS: Final = np.array([-0.9, -0.3, 0.3, 0.9])
_RATIOS: Final = np.array([0.3, 3.0])
_GAPS: Final = np.array([0.25, 1.0])
_CONTACTS: Final = 6

UNPLACED: Final = 5 * 5 * _CONTACTS * 3
"""The cell of a pair of which one region has no box."""
CELLS: Final = UNPLACED + 1


def cells_of(layout: Layout) -> Ints:
    """(P,) cell of each pair, in [0, CELLS).

    A cell is the shift of the object against the subject along x and along y (five bins each, borders at 0.3 and 0.9
    of the smaller side), how they meet (the subject mostly within the object, the object mostly within the subject,
    overlapping less, and apart by up to 0.25, up to 1, and more sizes), and which is larger (borders at 3 times the
    area).
    """
    x, y = np.digitize(layout.shift_x, _SHIFTS), np.digitize(layout.shift_y, _SHIFTS)
    meets = (layout.overlap_x > 0) & (layout.overlap_y > 0)
    apart = 3 + np.digitize(layout.gap / layout.size, _GAPS)
    within = np.where(layout.cover >= layout.cover_inverse, 0, 1)
    mostly = np.maximum(layout.cover, layout.cover_inverse) >= 0.5
    contact = np.where(meets, np.where(mostly, within, 2), apart)
    ratio = np.digitize(layout.area_ratio, _RATIOS)
    cells = ((x * 5 + y) * _CONTACTS + contact) * 3 + ratio
    placed: Ints = np.where(np.isnan(layout.dx), UNPLACED, cells)
    return placed
