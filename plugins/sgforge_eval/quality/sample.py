"""Relations that people judged, and how sure a share of right ones is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import attrs

from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.tasks.base import field_of, json_lines

__all__ = ["Judgement", "by_image", "read_judgements", "wilson_interval"]


@attrs.frozen
class Judgement:
    """One relation that a person judged: image, its row among all relations of the image, whether it is right."""

    image_id: str
    relation: int
    correct: bool


def read_judgements(path: Path) -> list[Judgement]:
    """A labelled sample: JSONL lines {"image_id", "relation": row, "correct": true or false}."""
    found = []
    for where, row in json_lines(path, "labelled sample"):
        relation = field_of(row, "relation", int, where)
        found.append(Judgement(field_of(row, "image_id", str, where), relation, field_of(row, "correct", bool, where)))
    return found


def wilson_interval(right: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) of nothing."""
    if not total:
        return 0.0, 1.0
    share, square = right / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    reach = z / (1 + square) * math.sqrt(share * (1 - share) / total + square / (4 * total))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def by_image(judgements: Iterable[Judgement], dropped: Dropped) -> dict[str, list[Judgement]]:
    """The judgements of each image; one about a relation that was judged before is counted in `dropped`."""
    found: dict[str, list[Judgement]] = {}
    seen: set[tuple[str, int]] = set()
    for judgement in judgements:
        key = (judgement.image_id, judgement.relation)
        if key in seen:
            dropped.add("judgement of a relation that was judged before", 1, judgement.image_id)
        else:
            found.setdefault(judgement.image_id, []).append(judgement)
        seen.add(key)
    return found
