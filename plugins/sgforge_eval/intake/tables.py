"""Scores of pairs over one list of predicates, many images at once: what a Side holds in place of relation rows."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from sgforge.masks.runs import segments
from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.intake.batch import offsets_of

__all__ = ["PairScores", "RelationRows", "merge_columns", "table_of_rows"]


@attrs.frozen(eq=False)
class RelationRows:
    """Listed triplets: `offsets` (N + 1), local `subject` and `object`, `predicates` codes, `scores` float32."""

    offsets: Ints
    subject: Ints
    object: Ints
    predicates: Ints
    scores: Floats


@attrs.frozen(eq=False)
class PairScores:
    """`offsets` (N + 1) of the pairs, local `subject` and `object` (P,), `scores` (P, C), predicate codes `columns`."""

    offsets: Ints
    subject: Ints
    object: Ints
    scores: Floats
    columns: Ints

    def take(self, images: Ints) -> PairScores:
        """The images of these row numbers, in this order."""
        if np.array_equal(images, np.arange(len(self.offsets) - 1)):
            return self
        pairs = segments(self.offsets, images)
        return PairScores(
            offsets=offsets_of(np.diff(self.offsets)[images]),
            subject=self.subject[pairs],
            object=self.object[pairs],
            scores=self.scores[pairs],
            columns=self.columns,
        )

    @classmethod
    def concat(cls, parts: Sequence[PairScores]) -> PairScores:
        """The images of all parts, in order; all have the same columns."""
        return cls(
            offsets=offsets_of(np.concatenate([np.diff(part.offsets) for part in parts])),
            subject=np.concatenate([part.subject for part in parts]),
            object=np.concatenate([part.object for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            columns=parts[0].columns,
        )

    def rows(self) -> RelationRows:
        """The same as listed triplets, pair after pair."""
        width = len(self.columns)
        return RelationRows(
            offsets=self.offsets * width,
            subject=np.repeat(self.subject, width),
            object=np.repeat(self.object, width),
            predicates=np.tile(self.columns, len(self.subject)),
            scores=self.scores.reshape(-1),
        )


def merge_columns(scores: Floats, codes: Ints) -> tuple[Floats, Ints]:
    """The table with one column for each known code, the highest where several names stand for one predicate."""
    known = np.flatnonzero(codes >= 0)
    unique, starts = np.unique(np.sort(codes[known]), return_index=True)
    if len(unique) == len(known):
        return scores, codes
    order = known[np.argsort(codes[known], kind="stable")]
    merged = np.maximum(np.maximum.reduceat(scores[:, order], starts, axis=1), np.float32(0))
    unknown = codes < 0
    return np.concatenate([merged, scores[:, unknown]], axis=1), np.concatenate([unique, codes[unknown]])


def table_of_rows(rows: RelationRows) -> PairScores | None:
    """The table that listed triplets are: every pair with the same predicates in the same order; None if they are none.

    A pair that an image lists twice makes rows of it: only there are its predicates ranked together.
    """
    total = len(rows.subject)
    if total < 2:
        return None
    differs = (rows.subject[1:] != rows.subject[0]) | (rows.object[1:] != rows.object[0])
    width = int(differs.argmax()) + 1 if differs.any() else total
    if width < 2 or total % width or (rows.offsets % width).any():
        return None
    subject, target = rows.subject.reshape(-1, width), rows.object.reshape(-1, width)
    columns = rows.predicates[:width]
    if not (_constant(subject) and _constant(target) and (rows.predicates.reshape(-1, width) == columns).all()):
        return None
    known = columns[columns >= 0]
    table = PairScores(
        offsets=rows.offsets // width,
        subject=subject[:, 0],
        object=target[:, 0],
        scores=rows.scores.reshape(-1, width),
        columns=columns,
    )
    return table if len(np.unique(known)) == len(known) and not _repeats(table) else None


def _constant(blocks: Ints) -> bool:
    return bool((blocks == blocks[:, :1]).all())


def _repeats(table: PairScores) -> bool:
    """Whether an image lists a pair twice."""
    image = np.repeat(np.arange(len(table.offsets) - 1), np.diff(table.offsets))
    span = int(max(table.subject.max(initial=0), table.object.max(initial=0))) + 1
    key = (image * span + table.subject) * span + table.object
    found: Flags = np.diff(np.sort(key)) == 0
    return bool(found.any())
