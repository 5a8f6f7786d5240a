"""One side of an evaluation, slim: boxes, label and predicate codes, scores; what else a graph holds is left behind.

Truth and predictions come as chunks of `sgforge.columns.GraphColumns`; a `SideReader` turns each into a `Side` over
vocabularies shared by all chunks and counts every row it leaves out, by reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol

import attrs
import numpy as np

from sgforge.columns import GraphColumns, ImageColumns, Ragged, RegionColumns
from sgforge.masks import MaskTable
from sgforge_eval.arrays import Flags, Floats, Ints
from sgforge_eval.batch import offsets_of
from sgforge_eval.dropped import Dropped

__all__ = ["Names", "Side", "SideReader", "expand_segments", "take_masks"]

Role = Literal["truth", "prediction"]


class Names(Protocol):
    """Codes for names; -1 for one outside of the vocabulary."""

    def codes(self, names: Iterable[str | None]) -> Ints:
        """The codes of `names`, int32."""


@attrs.frozen(eq=False)
class Side:
    """N images: regions (M rows), relations (R rows), CSR by image; subject and object are image-local.

    `labels` (M,), `predicates` (R,) codes; `boxes` (M, 4) float32, NaN where none; `region_scores`, `scores` float32,
    1 where none was given; `failed` (N,) reason or None. `masks` has one row per region (an empty one where none),
    None if masks were not asked for.
    """

    ids: list[str]
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

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, images: Ints) -> Side:
        """The images of these row numbers, in this order."""
        regions = expand_segments(self.region_offsets, images)
        relations = expand_segments(self.relation_offsets, images)
        return Side(
            [self.ids[image] for image in images.tolist()],
            offsets_of(np.diff(self.region_offsets)[images]),
            offsets_of(np.diff(self.relation_offsets)[images]),
            self.boxes[regions],
            self.labels[regions],
            self.region_scores[regions],
            self.subject[relations],
            self.object[relations],
            self.predicates[relations],
            self.scores[relations],
            self.category[relations],
            [self.failed[image] for image in images.tolist()],
            None if self.masks is None else take_masks(self.masks, regions),
        )

    @classmethod
    def concat(cls, parts: Sequence[Side]) -> Side:
        """The images of all parts, in order; at least one part."""
        if len(parts) == 1:
            return parts[0]
        masks = [part.masks for part in parts if part.masks is not None]
        return cls(
            [image_id for part in parts for image_id in part.ids],
            offsets_of(np.concatenate([np.diff(part.region_offsets) for part in parts])),
            offsets_of(np.concatenate([np.diff(part.relation_offsets) for part in parts])),
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.region_scores for part in parts]),
            np.concatenate([part.subject for part in parts]),
            np.concatenate([part.object for part in parts]),
            np.concatenate([part.predicates for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.category for part in parts]),
            [reason for part in parts for reason in part.failed],
            _concat_masks(masks) if masks else None,
        )


def expand_segments(offsets: Ints, chosen: Ints) -> Ints:
    """All rows of the segments `chosen`, in their order."""
    counts = np.diff(offsets)[chosen]
    ends = offsets_of(counts)
    return np.arange(ends[-1]) + np.repeat(offsets[chosen] - ends[:-1], counts)


def take_masks(masks: MaskTable, rows: Ints) -> MaskTable:
    """The masks of these rows, in this order."""
    lengths = masks.lengths[rows]
    data = masks.data[expand_segments(offsets_of(masks.lengths), rows)]
    return MaskTable(masks.frame[rows], masks.crop[rows], lengths, data)


def _concat_masks(parts: Sequence[MaskTable]) -> MaskTable:
    return MaskTable(
        np.concatenate([part.frame for part in parts]),
        np.concatenate([part.crop for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.data for part in parts]),
    )


@attrs.define(eq=False)
class SideReader:
    """Reads chunks of one side; `dropped` counts rows and images left out by reason, `seen` the ids so far."""

    role: Role
    labels: Names
    predicates: Names
    masks: bool = False
    dropped: Dropped = attrs.field(factory=Dropped)
    seen: set[str] = attrs.field(factory=set)

    def sides(self, chunks: Iterable[GraphColumns]) -> Iterator[Side]:
        """One side per chunk; repeated ids, dropped images and, of the truth, failed ones are left out and counted."""
        for columns in chunks:
            image = columns.image
            bad = (image.failed_step >= 0) | (image.failed_reason >= 0)
            fresh = []
            for row, image_id in enumerate(image.ids):
                if image_id in self.seen:
                    self.dropped.add(f"{self.role}: image id that occurred before", 1, image_id)
                elif image.dropped[row] >= 0:
                    self.dropped.add(f"{self.role}: image that a step dropped", 1, image_id)
                elif bad[row] and self.role == "truth":
                    self.dropped.add("truth: image that a step failed on", 1, image_id)
                else:
                    fresh.append(row)
                self.seen.add(image_id)
            yield self._side(columns if len(fresh) == len(bad) else columns.gather(np.asarray(fresh, np.int64)))

    def _side(self, columns: GraphColumns) -> Side:
        image, region, relation = columns.image, columns.region, columns.relation
        words = columns.vocabularies
        kept = self._kept_relations(columns)
        predicate = _recoded(relation.predicate, self.predicates.codes(words.predicate))
        outside = kept & (predicate < 0)
        self._count("relation with a predicate outside the vocabulary", outside)
        if self.role == "truth":
            # Nobody could find it; a prediction with an unknown name stays, since it takes a rank.
            kept &= ~outside
        of_image = np.repeat(np.arange(len(image.width)), image.relation_count)[kept]
        return Side(
            image.ids,
            image.region_offsets,
            offsets_of(np.bincount(of_image, minlength=len(image.width))),
            self._boxes(region),
            _recoded(region.label, self.labels.codes(words.label)),
            self._scores(region.score, "region"),
            relation.subject[kept],
            relation.object[kept],
            predicate[kept],
            self._scores(relation.score[kept], "relation"),
            relation.category[kept],
            _failures(image, words.reason),
            _mask_table(columns) if self.masks else None,
        )

    def _count(self, reason: str, which: Flags) -> None:
        self.dropped.add(f"{self.role}: {reason}", int(np.count_nonzero(which)))

    def _kept_relations(self, columns: GraphColumns) -> Flags:
        image, region, relation = columns.image, columns.region, columns.relation
        counts = np.repeat(image.region_count.astype(np.int64), image.relation_count)
        start = np.repeat(image.region_offsets[:-1], image.relation_count)
        subject, target = relation.subject, relation.object
        inside = (subject >= 0) & (subject < counts) & (target >= 0) & (target < counts)
        self._count("relation with a region index out of range", ~inside)
        region_kept = np.concatenate([region.status == 0, [False]])
        rows = np.where(inside, start + subject, -1), np.where(inside, start + target, -1)
        kept: Flags = (relation.status == 0) & region_kept[rows[0]] & region_kept[rows[1]]
        self._count("rejected relation, or relation of a rejected region", inside & ~kept)
        kept &= inside
        return kept

    def _boxes(self, region: RegionColumns) -> Floats:
        """Boxes, those of masks where none is given; zero areas stay, turned or infinite boxes become NaN."""
        box = region.box.astype(np.float32)
        crop = region.mask_crop.astype(np.float32)
        corners = np.concatenate([crop[:, :2], crop[:, :2] + crop[:, 2:]], axis=1)
        from_mask = np.isnan(box).all(axis=1) & (region.has_mask == 1)
        box = np.where(from_mask[:, None], corners, box)
        none: Flags = np.all(np.isnan(box), axis=1)
        turned: Flags = np.any(box[:, :2] > box[:, 2:], axis=1)
        infinite: Flags = ~np.all(np.isfinite(box), axis=1)
        faulty = np.logical_and(~none, infinite | turned)
        self._count("region whose box is turned or not finite, which matches nothing", faulty)
        return np.where(faulty[:, None], np.float32(np.nan), box)

    def _scores(self, scores: Floats, what: str) -> Floats:
        """Scores with 1 where none was given; what is infinite is never ranked (0) and counted."""
        infinite = np.isinf(scores)
        self._count(f"{what} whose score is not finite, which is not ranked", infinite)
        return np.where(infinite, np.float32(0), np.where(np.isnan(scores), np.float32(1), scores)).astype(np.float32)


def _failures(image: ImageColumns, reasons: Sequence[str]) -> list[str | None]:
    return [
        reasons[reason] if reason >= 0 else ("failed step" if step >= 0 else None)
        for reason, step in zip(image.failed_reason.tolist(), image.failed_step.tolist(), strict=True)
    ]


def _recoded(ids: Ints, codes: Ints) -> Ints:
    """Chunk-local ids as codes; -1 stays."""
    return np.concatenate([codes, np.full(1, -1, codes.dtype)])[ids]


def _mask_table(columns: GraphColumns) -> MaskTable:
    region, image = columns.region, columns.image
    size = np.repeat(np.stack([image.height, image.width], axis=1), image.region_count, axis=0)
    frame = np.where((region.mask_frame == 0).all(axis=1)[:, None], size, region.mask_frame)
    mask: Ragged = region.mask
    data = mask.values
    assert isinstance(data, np.ndarray)
    return MaskTable(frame.astype(np.int64), region.mask_crop.astype(np.int64), mask.counts.astype(np.int64), data)
