"""The label model: Gaussian naive Bayes from a region's place, size, shape and colour to its label.

It is weak, and its probabilities are too sure of themselves, since the features are far from independent. It exists
so that graphs can be ranked from boxes alone; a detector does this properly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.graph import Region, Sample
from sgforge.masks import to_crop

__all__ = ["FEATURES", "LabelModel", "region_features"]

Floats = NDArray[np.float64]

FEATURES: Final = ("x", "y", "log size", "log aspect", "fill", "red", "green", "blue", "contrast")
_SHRINK: Final = 2.0


@attrs.frozen(eq=False)
class LabelModel:
    """Per label (L) and feature (D): `mean` and `variance` (L, D), and `count` (L,) of regions."""

    labels: tuple[str, ...]
    mean: Floats
    variance: Floats
    count: Floats

    @classmethod
    def fit(cls, features: Floats, labels: Sequence[str]) -> Self:
        """From (N, D) features, NaN where unknown, and N labels; means and variances shrink to those of all regions."""
        names, owner = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
        known = ~np.isnan(features)
        values = np.where(known, features, 0.0)
        total = np.maximum(known.sum(axis=0), 1)
        overall = values.sum(axis=0) / total
        centred = np.where(known, features - overall, 0.0)
        spread = (centred**2).sum(axis=0) / total + 1e-4
        size = np.stack([np.bincount(owner, known[:, d], len(names)) for d in range(features.shape[1])], axis=1)
        summed = np.stack([np.bincount(owner, centred[:, d], len(names)) for d in range(features.shape[1])], axis=1)
        offset = summed / (size + 1)
        apart = np.where(known, centred - offset[owner], 0.0) ** 2
        squares = np.stack([np.bincount(owner, apart[:, d], len(names)) for d in range(features.shape[1])], axis=1)
        variance = (squares + _SHRINK * spread) / (size + _SHRINK)
        counts = np.bincount(owner, minlength=len(names)).astype(np.float64)
        return cls(tuple(names.tolist()), overall + offset, variance, counts)

    def probabilities(self, features: Floats) -> Floats:
        """(N, L) P(label | features); unknown features are left out."""
        difference = features[:, None, :] - self.mean
        terms = difference**2 / self.variance + np.log(self.variance)
        log = np.log(self.count + 1) - 0.5 * np.where(np.isnan(features)[:, None, :], 0.0, terms).sum(axis=2)
        weights = np.exp(log - log.max(axis=1, keepdims=True))
        probabilities: Floats = weights / weights.sum(axis=1, keepdims=True)
        return probabilities

    def best(self, features: Floats) -> list[tuple[str, float]]:
        """The likeliest label of each row and its probability."""
        probabilities = self.probabilities(features)
        best = probabilities.argmax(axis=1)
        return [(self.labels[label], float(probabilities[row, label])) for row, label in enumerate(best.tolist())]


def region_features(sample: Sample, regions: Sequence[Region], pixels: NDArray[np.uint8] | None) -> Floats:
    """(N, D) features of `regions`, in the order of `FEATURES`; NaN without a box, a mask or pixels.

    Places and sizes are shares of the image; `fill` is the share of the box in the mask; colours are means in [0, 1],
    `contrast` the standard deviation of the grey values. `pixels`: (H, W, 3) of the graph's size, others are not used.
    """
    features = np.full((len(regions), len(FEATURES)), np.nan)
    width, height = sample.graph.width, sample.graph.height
    usable = pixels if pixels is not None and pixels.shape[:2] == (height, width) else None
    for row, region in enumerate(regions):
        box = region.box or (region.mask.box if region.mask is not None else None)
        if box is None or not width:
            continue
        x0, y0, x1, y1 = box
        share = (x1 - x0) * (y1 - y0) / (width * height)
        place = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height)
        features[row, :4] = (*place, np.log(share) / 2, np.log((x1 - x0) / (y1 - y0)))
        shape = to_crop(region.mask) if region.mask is not None and region.mask.crop_width else None
        if shape is not None:
            features[row, 4] = shape.mean()
        if usable is not None:
            features[row, 5:] = _colour(region, box, shape, usable)
    return features


def _colour(
    region: Region, box: tuple[float, ...], shape: NDArray[np.bool_] | None, pixels: NDArray[np.uint8]
) -> tuple[float, ...]:
    """Mean red, green, blue and grey contrast within the mask, else within the middle half of the box."""
    if shape is not None and region.mask is not None:
        mask = region.mask
        crop = pixels[mask.y : mask.y + mask.crop_height, mask.x : mask.x + mask.crop_width][shape]
    else:
        x0, y0, x1, y1 = box
        left, right = (int(x0 + (x1 - x0) / 4), int(np.ceil(x1 - (x1 - x0) / 4)))
        top, bottom = (int(y0 + (y1 - y0) / 4), int(np.ceil(y1 - (y1 - y0) / 4)))
        crop = pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)].reshape(-1, 3)
    if not len(crop):
        return (np.nan,) * 4
    values = crop.astype(np.float64) / 255
    return (*values.mean(axis=0).tolist(), float(values.mean(axis=1).std()))
