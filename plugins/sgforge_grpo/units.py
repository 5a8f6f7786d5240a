"""What the numbers of a box in a text mean: pixels, thousandths, fractions, or pixels of the picture as processed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from sgforge import boxes
from sgforge_grpo.config import MAX_PIXELS, MIN_PIXELS, PATCH, UNITS, Unit

__all__ = ["UnitCheck", "processed_size", "scale_of"]

Size: TypeAlias = tuple[float, float]

_ENOUGH: Final = 24
_FITS: Final = 0.5
_CLEARLY: Final = 0.25


def processed_size(
    size: Size, max_pixels: int = MAX_PIXELS, min_pixels: int = MIN_PIXELS, patch: int = PATCH
) -> tuple[int, int]:
    """(width, height) that a Qwen image processor makes of a picture: multiples of `patch`, within both limits.

    Each side is rounded to the nearest multiple; a picture beyond a limit is scaled by the root of the ratio first.
    """
    width, height = (max(patch, round(side / patch) * patch) for side in size)
    area = size[0] * size[1]
    if width * height > max_pixels:
        factor = math.sqrt(area / max_pixels)
        width, height = (max(patch, math.floor(side / factor / patch) * patch) for side in size)
    elif width * height < min_pixels:
        factor = math.sqrt(min_pixels / area)
        width, height = (math.ceil(side * factor / patch) * patch for side in size)
    return width, height


def scale_of(unit: Unit, size: Size, processed: Size | None = None, max_pixels: int = MAX_PIXELS) -> Size:
    """What a box's numbers are divided by to be fractions of the picture; `size`: its (width, height) in pixels."""
    if unit == "thousand":
        return 1000.0, 1000.0
    if unit == "unit":
        return 1.0, 1.0
    if unit == "pixels":
        return max(size[0], 1.0), max(size[1], 1.0)
    return processed or (processed_size(size, max_pixels) if min(size) > 0 else (1.0, 1.0))


class UnitCheck:
    """Watches whether boxes fit the truth in the stated unit, and warns once where another one plainly fits better."""

    def __init__(self, stated: Unit, max_pixels: int = MAX_PIXELS) -> None:
        self.stated = stated
        self._max_pixels = max_pixels
        self._fits: dict[Unit, float] = dict.fromkeys(UNITS, 0.0)
        self._seen = 0
        self.better: Unit | None = None

    @property
    def is_done(self) -> bool:
        """Whether enough boxes were seen."""
        return self._seen >= _ENOUGH

    def see(self, raw: Sequence[Sequence[float]], truth: np.ndarray, size: Size, processed: Size | None = None) -> None:
        """Take in boxes as they were written, and those of the truth (G, 4) in pixels."""
        found = np.asarray(raw, np.float64).reshape(-1, 4)
        found = found[np.isfinite(found).all(1)]
        known = truth[~np.isnan(truth).any(1)]
        if self.is_done or not len(found) or not len(known) or min(size) <= 0:
            return
        scales = np.array([scale_of(unit, size, processed, self._max_pixels) for unit in UNITS], np.float64)
        placed = found * np.tile(np.array(size) / scales, 2)[:, None]
        best = boxes.iou(placed.reshape(-1, 4), known).max(1).clip(0, 1).reshape(len(UNITS), -1).sum(1)
        for unit, fit in zip(UNITS, best.tolist(), strict=True):
            self._fits[unit] += fit
        self._seen += len(found)
        if self._seen >= _ENOUGH:
            self._judge()

    def _judge(self) -> None:
        means = {unit: total / self._seen for unit, total in self._fits.items()}
        best = max(means, key=lambda unit: means[unit])
        if means[best] >= _FITS and means[best] - means[self.stated] >= _CLEARLY:
            self.better = best
            warnings.warn(
                f"boxes read as {self.stated!r} overlap the truth by {means[self.stated]:.2f}, as {best!r} they would "
                f"by {means[best]:.2f}: set boxes = {best!r}",
                RuntimeWarning,
                stacklevel=2,
            )
