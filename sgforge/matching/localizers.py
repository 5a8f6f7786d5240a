"""Whether two regions, or two unions of regions, overlap enough: by boxes or by masks, many pairs at once."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgforge import boxes
from sgforge.masks import MaskTable
from sgforge.masks.overlap import RunMasks

__all__ = ["BoxLocalizer", "Localizer", "MaskLocalizer"]

Rows: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.floating[Any]]
Flags: TypeAlias = NDArray[np.bool_]


class Localizer(Protocol):
    """Decides whether regions overlap enough; rows index truth objects and predicted objects of one batch."""

    def regions(self, truth: Rows, predicted: Rows) -> Flags:
        """Whether truth region i and predicted region i match."""

    def phrases(self, truth: tuple[Rows, Rows], predicted: tuple[Rows, Rows]) -> Flags:
        """Whether the union of truth subject and object i matches that of predicted subject and object i."""


class BoxLocalizer:
    """Localisation by boxes (N, 4) and (M, 4), NaN where there is none, which matches nothing.

    `pixels`: how many pixels a box spans; `strict`: an IoU must exceed 0.5, not only reach it.
    """

    def __init__(
        self, truth: Floats, predicted: Floats, pixels: boxes.Convention = "continuous", *, strict: bool = False
    ) -> None:
        self._truth, self._predicted, self._pixels, self._strict = truth, predicted, pixels, strict

    def _match(self, first: Floats, second: Floats) -> Flags:
        # In float64 an IoU of exactly 0.5 is exactly 0.5; a box of NaN overlaps nothing.
        overlap = boxes.iou_rows(first.astype(np.float64), second.astype(np.float64), self._pixels)
        return overlap > 0.5 if self._strict else overlap >= 0.5

    def regions(self, truth: Rows, predicted: Rows) -> Flags:
        """Whether box i and box i match."""
        return self._match(self._truth[truth], self._predicted[predicted])

    def phrases(self, truth: tuple[Rows, Rows], predicted: tuple[Rows, Rows]) -> Flags:
        """Whether the boxes around both regions match."""
        return self._match(
            boxes.union_boxes(self._truth[truth[0]], self._truth[truth[1]]),
            boxes.union_boxes(self._predicted[predicted[0]], self._predicted[predicted[1]]),
        )


class MaskLocalizer:
    """Localisation by masks (PSG): IoU of masks, of their unions for phrases."""

    def __init__(self, truth: MaskTable, predicted: MaskTable, *, strict: bool = False) -> None:
        self._truth, self._predicted, self._strict = RunMasks.of(truth), RunMasks.of(predicted), strict

    def regions(self, truth: Rows, predicted: Rows) -> Flags:
        """Whether mask i and mask i match; each pair of masks is counted once however often it is asked about."""
        span = max(self._predicted.spans.size, 1)
        pairs, inverse = np.unique(truth * span + predicted, return_inverse=True)
        first, second = np.divmod(pairs, span)
        return self._truth.match(first, self._predicted, second, strict=self._strict)[inverse]

    def phrases(self, truth: tuple[Rows, Rows], predicted: tuple[Rows, Rows]) -> Flags:
        """Whether the unions of both masks match."""
        first, second = self._truth.unions(*truth), self._predicted.unions(*predicted)
        own = np.arange(len(truth[0]))
        return first.match(own, second, own, strict=self._strict)
