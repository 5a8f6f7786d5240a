"""Groups of truth triplets: how far apart their regions lie, how alike in size, whether their names were seen."""

from __future__ import annotations

from typing import Final

import numpy as np

from sgforge_eval.intake.arrays import Ints
from sgforge_eval.intake.batch import Truth

__all__ = ["DISTANCES", "NOVELTIES", "SIZES", "novelties", "pair_distances", "pair_sizes"]

DISTANCES: Final = ("near: under 1", "middle: 1 to 3", "far: over 3")
"""Distance of the centres of two boxes, in mean sides (the mean of the square roots of their areas)."""
SIZES: Final = ("alike: over 1/2", "different: 1/10 to 1/2", "very different: under 1/10")
"""Area of the smaller box over that of the larger."""
NOVELTIES: Final = ("all names seen", "a label unseen", "the predicate unseen", "both unseen")


def pair_distances(truth: Truth) -> Ints:
    """(R,) int8 places in `DISTANCES`, -1 without two boxes that have an area."""
    one, two, areas = _boxes(truth)
    centres = (one[:, :2] + one[:, 2:]) / 2 - (two[:, :2] + two[:, 2:]) / 2
    side = np.sqrt(areas).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.digitize(np.hypot(centres[:, 0], centres[:, 1]) / side, (1.0, 3.0))
    return np.where(np.isfinite(side) & (side > 0), found, -1).astype(np.int8)


def pair_sizes(truth: Truth) -> Ints:
    """(R,) int8 places in `SIZES`, -1 without two boxes that have an area."""
    areas = _boxes(truth)[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = areas.min(axis=1) / areas.max(axis=1)
    found = np.select([share >= 0.5, share >= 0.1], [0, 1], 2)
    return np.where(np.isfinite(share), found, -1).astype(np.int8)


def novelties(truth: Truth, labels: Ints, predicates: Ints) -> Ints:
    """(R,) int8 places in `NOVELTIES`; `labels` and `predicates` are the codes seen in training."""
    own = truth.objects.labels
    known = np.isin(own[truth.subject], labels) & np.isin(own[truth.object], labels)
    found: Ints = (~known + 2 * ~np.isin(truth.predicate, predicates)).astype(np.int8)
    return found


def _boxes(truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The boxes (R, 4) of subjects and objects, float64, and their areas (R, 2)."""
    boxes = truth.objects.boxes.astype(np.float64)
    one, two = boxes[truth.subject], boxes[truth.object]
    areas = [np.prod(side[:, 2:] - side[:, :2], axis=1) for side in (one, two)]
    return one, two, np.stack(areas, axis=1)
