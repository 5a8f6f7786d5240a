"""Chunks of graphs as sides: names as codes of shared vocabularies, every row that is left out counted by reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import attrs
import numpy as np

from sgforge.columns import GraphColumns, ImageColumns, Ragged, RegionColumns
from sgforge.errors import ConfigError
from sgforge.masks import MaskTable
from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.intake.batch import offsets_of
from sgforge_eval.intake.dense import DenseGraphs
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.inputs import Chunk, Tabled
from sgforge_eval.intake.side import Side
from sgforge_eval.intake.tables import PairScores, merge_columns

if TYPE_CHECKING:
    from sgforge.jsonl import PairTable

__all__ = ["Names", "SideReader"]

Role = Literal["truth", "prediction"]


class Names(Protocol):
    """Codes for names; -1 for one outside of the vocabulary."""

    def codes(self, names: Iterable[str | None]) -> Ints:
        """The codes of `names`, int32."""


@attrs.define(eq=False)
class SideReader:
    """Reads chunks of one side; `dropped` counts rows and images left out by reason, `seen` the ids so far.

    `masks`: regions are located by mask, else by box. `located`: whether this side's places are looked at at all.
    `regions`, `placeless`: how many regions were read, and how many of them lie nowhere.
    """

    role: Role
    labels: Names
    predicates: Names
    masks: bool = False
    dropped: Dropped = attrs.field(factory=Dropped)
    located: bool = True
    seen: set[str] = attrs.field(factory=set)
    regions: int = 0
    placeless: int = 0
    _coded: tuple[tuple[str, ...], Ints] = attrs.field(factory=lambda: ((), np.zeros(0, np.int32)), init=False)

    def sides(self, chunks: Iterable[Chunk]) -> Iterator[Side]:
        """One side per chunk; repeated ids, dropped images and, of the truth, failed ones are left out and counted."""
        for chunk in chunks:
            if isinstance(chunk, DenseGraphs):
                side = self._dense_side(chunk)
                none = np.zeros(len(side), bool)
                fresh = self._fresh(side.ids, none, none)
                yield side if len(fresh) == len(side) else side.take(fresh)
                continue
            columns, tables = (chunk.columns, chunk.tables) if isinstance(chunk, Tabled) else (chunk, {})
            image = columns.image
            bad = (image.failed_step >= 0) | (image.failed_reason >= 0)
            fresh = self._fresh(image.ids, image.dropped >= 0, bad & (self.role == "truth"))
            if len(fresh) < len(bad):
                columns = columns.gather(fresh)
                tables = {place: tables[row] for place, row in enumerate(fresh.tolist()) if row in tables}
            yield self._with_tables(self._side(columns), columns, tables)

    def _fresh(self, ids: Sequence[str], left_out: Flags, failed: Flags) -> Ints:
        """The rows of images that take part; the others are counted."""
        fresh = []
        for row, image_id in enumerate(ids):
            if image_id in self.seen:
                self.dropped.add(f"{self.role}: image id that occurred before", 1, image_id)
            elif left_out[row]:
                self.dropped.add(f"{self.role}: image that a step dropped", 1, image_id)
            elif failed[row]:
                self.dropped.add("truth: image that a step failed on", 1, image_id)
            else:
                fresh.append(row)
            self.seen.add(image_id)
        return np.asarray(fresh, np.int64)

    def _with_tables(self, side: Side, columns: GraphColumns, tables: Mapping[int, PairTable]) -> Side:
        """The side with relations that were read as tables; as rows where not all images have one of one form."""
        rows = sorted(row for row in tables if side.failed[row] is None)
        if not rows:
            return side
        kept = columns.region.status == 0
        starts = side.region_offsets[rows]
        pairs = [tables[row].pairs.astype(np.int64) for row in rows]
        inside = [kept[start + pair].all(axis=1) for start, pair in zip(starts, pairs, strict=True)]
        width = [len(tables[row].predicates) for row in rows]
        lost = sum(int(np.count_nonzero(~fine)) * size for fine, size in zip(inside, width, strict=True))
        self.dropped.add(f"{self.role}: rejected relation, or relation of a rejected region", lost)
        found = [
            PairScores(
                offsets=np.array([0, int(fine.sum())]),
                subject=pair[fine, 0],
                object=pair[fine, 1],
                scores=tables[row].scores[fine],
                columns=self._columns(tables[row].predicates),
            )
            for row, pair, fine in zip(rows, pairs, inside, strict=True)
        ]
        return side.with_tables(rows, found)

    def _columns(self, predicates: tuple[str, ...]) -> Ints:
        """The codes of a list of predicates; the last list is remembered."""
        if predicates != self._coded[0]:
            self._coded = predicates, self.predicates.codes(predicates)
            unknown = int(np.count_nonzero(self._coded[1] < 0))
            self.dropped.add(f"{self.role}: predicate of a table outside the vocabulary", unknown)
        return self._coded[1]

    def _dense_side(self, graphs: DenseGraphs) -> Side:
        """A side of predictions that are arrays; pairs of regions that do not exist are left out and counted."""
        image = np.repeat(np.arange(len(graphs)), np.diff(graphs.pair_offsets))
        counts = np.diff(graphs.object_offsets)
        inside = ((graphs.pairs >= 0) & (graphs.pairs < counts[image][:, None])).all(axis=1)
        self._count("pair with a region index out of range", ~inside)
        pairs, scores, offsets = graphs.pairs, graphs.scores, graphs.pair_offsets
        if not inside.all():
            pairs, scores = pairs[inside], scores[inside]
            offsets = offsets_of(np.bincount(image[inside], minlength=len(graphs)))
        scores, columns = merge_columns(scores, self._columns(graphs.predicates))
        codes = np.append(self.labels.codes(graphs.label_names), np.int32(-1)).astype(np.int32)
        labels = codes[graphs.labels]
        self._count("region with a label outside the vocabulary", (graphs.labels >= 0) & (labels < 0))
        nothing = np.zeros(0, np.int64)
        given = np.ones(len(labels), np.float32) if graphs.object_scores is None else graphs.object_scores
        if self.masks and graphs.masks is None:
            raise ConfigError(
                "these predictions have no masks, so they cannot be found by mask: give masks, or use boxes"
            )
        return Side(
            ids=list(graphs.ids),
            sizes=np.zeros((len(graphs), 2), np.int64) if graphs.sizes is None else graphs.sizes,
            region_offsets=graphs.object_offsets,
            relation_offsets=np.zeros(len(graphs) + 1, np.int64),
            boxes=self._sound(graphs.boxes.astype(np.float32, copy=False)),
            labels=labels,
            region_scores=self._scores(given, "region"),
            subject=nothing,
            object=nothing,
            predicates=nothing,
            scores=np.zeros(0, np.float32),
            category=np.zeros(0, np.uint8),
            failed=[None] * len(graphs),
            masks=graphs.masks if self.masks else None,
            table=PairScores(offsets=offsets, subject=pairs[:, 0], object=pairs[:, 1], scores=scores, columns=columns),
        )

    def _side(self, columns: GraphColumns) -> Side:
        image, region, relation = columns.image, columns.region, columns.relation
        failures = _failures(image, columns.vocabularies.reason)
        # What a failed prediction holds beside its failure is not an answer.
        answered = np.array([reason is None for reason in failures], bool)
        counted = (region.status == 0) & np.repeat(answered, image.region_count)
        labels = self._labels(columns, counted)
        kept = self._kept_relations(columns) & np.repeat(answered, image.relation_count)
        predicates = self._predicates(columns, kept)
        if self.role == "truth":
            # Nobody could find it; a prediction with an unknown name stays, since it takes a rank.
            kept &= (predicates >= 0) & ~self._of_unknown_label(columns, kept, labels)
        of_image = np.repeat(np.arange(len(image.width)), image.relation_count)[kept]
        return Side(
            ids=image.ids,
            sizes=np.stack([image.width, image.height], axis=1).astype(np.int64),
            region_offsets=image.region_offsets,
            relation_offsets=offsets_of(np.bincount(of_image, minlength=len(image.width))),
            boxes=self._boxes(region, counted),
            labels=labels,
            region_scores=self._scores(region.score, "region"),
            subject=relation.subject[kept],
            object=relation.object[kept],
            predicates=predicates[kept],
            scores=self._scores(relation.score[kept], "relation"),
            category=relation.category[kept],
            failed=failures,
            masks=_mask_table(columns) if self.masks else None,
        )

    def _labels(self, columns: GraphColumns, counted: Flags) -> Ints:
        """Codes of the labels of counted regions; -1 for others, for none and for one outside of the vocabulary."""
        given = columns.region.label
        labels = _coded(given, counted, self.labels, columns.vocabularies.label)
        self._count("region with a label outside the vocabulary", counted & (given >= 0) & (labels < 0))
        if self.role == "truth":
            self._count("region without a label, which only predcls can find", counted & (given < 0))
        return labels

    def _predicates(self, columns: GraphColumns, kept: Flags) -> Ints:
        predicates = _coded(columns.relation.predicate, kept, self.predicates, columns.vocabularies.predicate)
        self._count("relation with a predicate outside the vocabulary", kept & (predicates < 0))
        return predicates

    def _of_unknown_label(self, columns: GraphColumns, kept: Flags, labels: Ints) -> Flags:
        """Kept relations one of whose regions has a label outside of the vocabulary."""
        outside = (columns.region.label >= 0) & (labels < 0)
        rows, relation = np.flatnonzero(kept), columns.relation
        start = np.repeat(columns.image.region_offsets[:-1], columns.image.relation_count)[rows]
        found = np.zeros(len(kept), bool)
        found[rows] = outside[start + relation.subject[rows]] | outside[start + relation.object[rows]]
        self._count("relation of a region with a label outside the vocabulary", found)
        return found

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

    def _boxes(self, region: RegionColumns, counted: Flags) -> Floats:
        """Boxes, those of masks where none is given; zero areas stay, turned or infinite boxes become NaN.

        So do those of regions that do not count.
        """
        box = region.box.astype(np.float32)
        crop = region.mask_crop.astype(np.float32)
        corners = np.concatenate([crop[:, :2], crop[:, :2] + crop[:, 2:]], axis=1)
        from_mask = np.isnan(box).all(axis=1) & (region.has_mask == 1)
        box = np.where(from_mask[:, None], corners, box)
        box = self._sound(box)
        none: Flags = np.all(np.isnan(region.box), axis=1) & ~from_mask
        placeless = counted & (region.has_mask == 0 if self.masks else none)
        self.regions += int(np.count_nonzero(counted))
        self.placeless += int(np.count_nonzero(placeless))
        if self.located:
            what = "mask" if self.masks else "box"
            self._count(f"region without a {what}, which matches nothing", placeless)
        return np.where(~counted[:, None], np.float32(np.nan), box)

    def _sound(self, box: Floats) -> Floats:
        """Boxes, NaN where turned or infinite, which is counted."""
        if np.isfinite(box).all() and (box[:, :2] <= box[:, 2:]).all():
            return box
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


def _coded(ids: Ints, counted: Flags, names: Names, words: Sequence[str]) -> Ints:
    """Chunk-local ids as codes, -1 where not counted: a word that no counted row has must get no code."""
    known = counted & (ids >= 0)
    used = np.flatnonzero(np.bincount(ids[known], minlength=len(words)))
    table = np.full(len(words) + 1, -1, np.int32)
    table[used] = names.codes([words[place] for place in used.tolist()])
    return np.where(known, table[ids], np.int32(-1))


def _mask_table(columns: GraphColumns) -> MaskTable:
    region, image = columns.region, columns.image
    size = np.repeat(np.stack([image.height, image.width], axis=1), image.region_count, axis=0)
    frame = np.where((region.mask_frame == 0).all(axis=1)[:, None], size, region.mask_frame)
    mask: Ragged = region.mask
    data = mask.values
    assert isinstance(data, np.ndarray)
    return MaskTable(frame.astype(np.int64), region.mask_crop.astype(np.int64), mask.counts.astype(np.int64), data)
