"""Choosing the VQA threshold on a labelled sample: precision and recall of the verdicts at each threshold."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

__all__ = ["Calibration", "calibrate"]


@attrs.frozen
class Calibration:
    """Keeping relations with P(yes) >= `threshold`: fractions over the labelled relations, `kept` of all of them."""

    threshold: float
    precision: float
    recall: float
    kept: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def calibrate(degrees: Sequence[float], labels: Sequence[bool]) -> list[Calibration]:
    """One row per distinct P(yes) as threshold, rising. `degrees` in [0, 1]; `labels`: whether the relation is right.

    Precision of an empty selection does not occur, since each threshold keeps at least its own relation. Without a
    right relation recall has no meaning: that is a ValueError.
    """
    right = sum(labels)
    if len(degrees) != len(labels) or not right:
        raise ValueError(f"need equally many degrees and labels with a right one among them, got {right} right")
    rows: dict[float, Calibration] = {}
    hits = 0
    ranked = sorted(zip(degrees, labels, strict=True), reverse=True)
    for kept, (degree, label) in enumerate(ranked, 1):
        hits += label
        # The last of equal degrees overwrites the others: a threshold keeps all of them.
        rows[degree] = Calibration(degree, hits / kept, hits / right, kept / len(ranked))
    return [rows[degree] for degree in sorted(rows)]
