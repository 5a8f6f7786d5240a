"""Recall weighted by rank, as Maelic's SGG-Benchmark has it: what is found early counts more than what is found late.

Of the triplets before the cut K that find anything, the i-th (from 0), at rank r, weighs (K - (r - i)) / K: wrong ones
before it cost it, right ones do not. wR is the sum of the weights over the number of truth rows; several that find one
row all count. wmR weighs rows instead: of an image's found rows, in the order of the truth, the i-th weighs
(K - i) / K, whatever the rank that found it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgforge_eval.intake.arrays import Flags, Floats, Ints

__all__ = ["row_weights", "weights_of_images"]


def weights_of_images(image: Ints, rank: Ints, images: int, cuts: Sequence[int]) -> Floats:
    """(images, K) sums of the weights of right triplets, given by `image` ascending and `rank` ascending within it."""
    before = _place_within(image)
    sums = [
        np.bincount(image[rank < cut], ((cut - (rank - before)) / cut)[rank < cut], images).astype(np.float64)
        for cut in cuts
    ]
    return np.stack(sums, axis=1)


def row_weights(image: Ints, found: Flags, cut: int) -> Floats:
    """(R,) the weight of each truth row at a cut, 0 where it is not found; rows of an image keep their order."""
    weights = np.zeros(len(image))
    rows = np.flatnonzero(found)
    rows = rows[np.argsort(image[rows], kind="stable")]
    weights[rows] = (cut - _place_within(image[rows])) / cut
    return weights


def _place_within(image: Ints) -> Ints:
    """How many rows of its image stand before each; images ascend."""
    places: Ints = np.arange(len(image)) - np.searchsorted(image, image)
    return places
