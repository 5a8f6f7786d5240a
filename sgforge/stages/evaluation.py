"""What passes between the engine and an evaluator: rankings, judged images, reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from sgforge.graph import Region, SceneGraph
from sgforge.stages.values import Failure

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Judged", "Ranking", "Report"]


@attrs.frozen(eq=False)
class Ranking:
    """A student's full answer for evaluation: every candidate with a score, nothing cut.

    `regions`: the regions the pairs index, with labels and scores. `pairs`: (P, 2) int32 subject and object indices,
    no pair twice. `predicates`: C texts. `scores`: (P, C) float32, P(predicate | pair) in [0, 1]; 0 means not proposed.
    """

    regions: tuple[Region, ...]
    pairs: np.ndarray
    predicates: tuple[str, ...]
    scores: np.ndarray


@attrs.frozen
class Judged:
    """One held-out image for an evaluator: the truth and what the student said, which may be a failure."""

    image_id: str
    truth: SceneGraph
    prediction: Ranking | Failure


@attrs.frozen
class Report:
    """What an evaluator found: named values as fractions, rows of tables, images used and skipped by reason.

    Values are finite; one that is undefined is left out.
    """

    metric: str
    values: Mapping[str, float]
    convention: str = ""
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = attrs.field(factory=dict)
    images_used: int = 0
    images_skipped: Mapping[str, int] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()
