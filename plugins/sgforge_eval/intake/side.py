"""One side of an evaluation, slim: boxes, label and predicate codes, scores; what else a graph holds is left behind."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from sgforge.masks import MaskTable
from sgforge.masks.runs import segments
from sgforge_eval.intake.arrays import Floats, Ints
from sgforge_eval.intake.batch import offsets_of
from sgforge_eval.intake.tables import PairScores

__all__ = ["Side", "take_masks"]


@attrs.frozen(eq=False)
class Side:
    """N images: regions (M rows), relations (R rows), CSR by image; subject and object are image-local.

    `sizes` (N, 2) width and height, 0 where unknown.
    `labels` (M,), `predicates` (R,) codes; `boxes` (M, 4) float32, NaN where none; `region_scores`, `scores` float32,
    1 where none was given; `failed` (N,) reason or None. `masks` has one row per region (an empty one where none),
    None if masks were not asked for. `table`: the relations are scores of pairs, and there are no rows.
    """

    ids: list[str]
    sizes: Ints
    region_offsets: Ints
    relation_offsets: Ints
    boxes: Floats
    labels: Ints
    region_scores: Floats
    subject: Ints
    object: Ints
    predicates: Ints
    scores: Floats
    category: Ints
    failed: list[str | None]
    masks: MaskTable | None = None
    table: PairScores | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, images: Ints) -> Side:
        """The images of these row numbers, in this order."""
        regions = segments(self.region_offsets, images)
        relations = segments(self.relation_offsets, images)
        return Side(
            ids=[self.ids[image] for image in images.tolist()],
            sizes=self.sizes[images],
            region_offsets=offsets_of(np.diff(self.region_offsets)[images]),
            relation_offsets=offsets_of(np.diff(self.relation_offsets)[images]),
            boxes=self.boxes[regions],
            labels=self.labels[regions],
            region_scores=self.region_scores[regions],
            subject=self.subject[relations],
            object=self.object[relations],
            predicates=self.predicates[relations],
            scores=self.scores[relations],
            category=self.category[relations],
            failed=[self.failed[image] for image in images.tolist()],
            masks=None if self.masks is None else take_masks(self.masks, regions),
            table=None if self.table is None else self.table.take(images),
        )

    def with_tables(self, images: Sequence[int], tables: Sequence[PairScores]) -> Side:
        """The side with the relations of these images (ascending, each without rows) as one table, else all as rows."""
        counts = np.zeros(len(self), np.int64)
        counts[list(images)] = [len(table.subject) for table in tables]
        first = tables[0]
        if not len(self.subject) and all(np.array_equal(table.columns, first.columns) for table in tables):
            return attrs.evolve(self, table=attrs.evolve(PairScores.concat(tables), offsets=offsets_of(counts)))
        rows = [table.rows() for table in tables]
        counts[list(images)] = [len(part.subject) for part in rows]
        own = np.diff(self.relation_offsets)
        image = np.concatenate([np.repeat(np.arange(len(self)), own), np.repeat(np.arange(len(self)), counts)])
        order = np.argsort(image, kind="stable")
        return attrs.evolve(
            self,
            relation_offsets=offsets_of(own + counts),
            subject=np.concatenate([self.subject, *(part.subject for part in rows)])[order],
            object=np.concatenate([self.object, *(part.object for part in rows)])[order],
            predicates=np.concatenate([self.predicates, *(part.predicates for part in rows)])[order],
            scores=np.concatenate([self.scores, *(part.scores for part in rows)])[order],
            category=np.concatenate([self.category, np.zeros(counts.sum(), np.uint8)])[order],
        )

    def listed(self) -> Side:
        """The same with relations as rows."""
        if self.table is None:
            return self
        rows = self.table.rows()
        return attrs.evolve(
            self,
            table=None,
            relation_offsets=rows.offsets,
            subject=rows.subject,
            object=rows.object,
            predicates=rows.predicates,
            scores=rows.scores,
            category=np.zeros(len(rows.subject), np.uint8),
        )

    @classmethod
    def concat(cls, parts: Sequence[Side]) -> Side:
        """The images of all parts, in order; at least one part. Tables stay one where all have the same predicates."""
        if len(parts) == 1:
            return parts[0]
        tables = _tables(parts)
        if tables is None:
            parts = [part.listed() for part in parts]
        masks = [part.masks for part in parts if part.masks is not None]
        return cls(
            ids=[image_id for part in parts for image_id in part.ids],
            sizes=np.concatenate([part.sizes for part in parts]),
            region_offsets=offsets_of(np.concatenate([np.diff(part.region_offsets) for part in parts])),
            relation_offsets=offsets_of(np.concatenate([np.diff(part.relation_offsets) for part in parts])),
            boxes=np.concatenate([part.boxes for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            region_scores=np.concatenate([part.region_scores for part in parts]),
            subject=np.concatenate([part.subject for part in parts]),
            object=np.concatenate([part.object for part in parts]),
            predicates=np.concatenate([part.predicates for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            category=np.concatenate([part.category for part in parts]),
            failed=[reason for part in parts for reason in part.failed],
            masks=_concat_masks(masks) if masks else None,
            table=None if tables is None else PairScores.concat(tables),
        )


def _tables(parts: Sequence[Side]) -> list[PairScores] | None:
    """The tables of all parts, an empty one for a part without relations; None where they cannot be one."""
    first = next((part.table for part in parts if part.table is not None), None)
    found = []
    for part in parts:
        table = part.table
        if table is None and first is not None and not len(part.subject):
            nothing = np.zeros(0, np.int64)
            table = attrs.evolve(
                first,
                offsets=np.zeros(len(part) + 1, np.int64),
                subject=nothing,
                object=nothing,
                scores=first.scores[:0],
            )
        if first is None or table is None or not np.array_equal(table.columns, first.columns):
            return None
        found.append(table)
    return found


def take_masks(masks: MaskTable, rows: Ints) -> MaskTable:
    """The masks of these rows, in this order."""
    lengths = masks.lengths[rows]
    data = masks.data[segments(offsets_of(masks.lengths), rows)]
    return MaskTable(masks.frame[rows], masks.crop[rows], lengths, data)


def _concat_masks(parts: Sequence[MaskTable]) -> MaskTable:
    return MaskTable(
        np.concatenate([part.frame for part in parts]),
        np.concatenate([part.crop for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.data for part in parts]),
    )
