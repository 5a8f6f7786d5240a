"""What a pipeline's evaluator is given (truth and a student's ranking, image by image) as batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import attrs
import numpy as np

from sgforge.graph import CATEGORIES, Box, Mask, Region, SceneGraph
from sgforge.masks import MaskTable
from sgforge.stages import Failure, Judged, Ranking
from sgforge_eval.evaluate import Vocabulary
from sgforge_eval.intake.arrays import Flags, Floats, Ints
from sgforge_eval.intake.batch import Dense, EvalBatch, Listed, Objects, Truth, offsets_of
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.reading import Names
from sgforge_eval.intake.tables import merge_columns
from sgforge_eval.measures.ranking import clean_scores
from sgforge_eval.measures.scorer import Measure
from sgforge_eval.measures.shortlist import Cells, cells_of_columns, clean_table, listed_cells

__all__ = ["JudgedBatch", "JudgedReader"]

_CELLS = 1 << 22  # pair x predicate scores held at once
_IMAGES = 512
_WIDE = 512  # predicates from which an image keeps only the cells that can be listed
_NO_BOX: Box = (float("nan"),) * 4


@attrs.frozen(eq=False)
class JudgedBatch:
    """A batch, and the masks of the truth's and the predicted regions where they were asked for."""

    batch: EvalBatch
    truth_masks: MaskTable | None = None
    predicted_masks: MaskTable | None = None


@attrs.frozen(eq=False)
class _Scored:
    """One image: `pairs` (P, 2) of its regions with `scores` (P, C), one for each of the predicates `columns`.

    Of a wide table only cells are held: `pairs` (n, 2), `scores` (n,) and their predicate `codes` (n,). A failure has
    neither columns nor codes.
    """

    truth: SceneGraph
    regions: tuple[Region, ...]
    pairs: Ints
    scores: Floats
    columns: tuple[str, ...] | None = None
    codes: Ints | None = None

    @property
    def failed(self) -> bool:
        """Whether there is no answer."""
        return self.columns is None and self.codes is None


@attrs.define
class JudgedReader:
    """Turns Judged values into batches; the codes of `words` are shared by all of them.

    `dropped` counts rows left out by reason; `failures` counts failed images by reason.
    """

    measure: Measure
    words: Vocabulary
    masks: bool = False
    dropped: Dropped = attrs.field(factory=Dropped)
    failures: Counter[str] = attrs.field(factory=Counter)
    _coded: tuple[tuple[str, ...], Ints] = attrs.field(factory=lambda: ((), np.zeros(0, np.int32)), init=False)

    @property
    def _aligned(self) -> bool:
        return self.measure.mode != "sgdet"

    def batches(self, judged: Iterable[Judged]) -> Iterator[JudgedBatch]:
        """Batches in order; each holds rankings with one list of predicates, or the listed cells of wide ones."""
        pending: list[_Scored] = []
        cells = 0
        for item in map(self._scored, judged):
            full = cells + item.scores.size > _CELLS or len(pending) >= _IMAGES
            if pending and (full or not _alike(pending, item)):
                yield self._batch(pending)
                pending, cells = [], 0
            pending.append(item)
            cells += item.scores.size
        if pending:
            yield self._batch(pending)

    def _batch(self, items: Sequence[_Scored]) -> JudgedBatch:
        truth = self._truth(items)
        own = self.words.predicted_labels
        objects = self._shown(items, truth.objects) if self._aligned else self._objects([i.regions for i in items], own)
        batch = EvalBatch(
            count=len(items),
            truth=truth,
            predictions=self._predictions(items, objects),
            failed=np.array([item.failed for item in items], bool),
            labels=len(self.words.labels),
            predicates=len(self.words.predicates),
            aligned=self._aligned,
        )
        if not self.masks:
            return JudgedBatch(batch)
        without = sum(region.mask is None for item in items for region in item.truth.all.regions)
        self.dropped.add("truth: region without a mask, which matches nothing", without)
        true_masks = _masks([item.truth.all.regions for item in items])
        return JudgedBatch(batch, true_masks, true_masks if self._aligned else _masks([i.regions for i in items]))

    def _truth(self, items: Sequence[_Scored]) -> Truth:
        graphs = [item.truth for item in items]
        objects = self._objects([graph.all.regions for graph in graphs], self.words.labels)
        rows = [
            (image, objects.offsets[image] + row.subject, objects.offsets[image] + row.object, row)
            for image, graph in enumerate(graphs)
            for row in graph.relations.values()
        ]
        truth = Truth(
            objects=objects,
            image=np.array([image for image, *_ in rows], np.int64),
            subject=np.array([subject for _, subject, _, _ in rows], np.int64),
            object=np.array([target for _, _, target, _ in rows], np.int64),
            predicate=self.words.predicates.codes(row.predicate for *_, row in rows).astype(np.int64),
            category=np.array([CATEGORIES.index(row.category) for *_, row in rows], np.uint8),
        )
        return self._in_vocabulary(truth, [region.label for graph in graphs for region in graph.all.regions])

    def _in_vocabulary(self, truth: Truth, labels: Sequence[str | None]) -> Truth:
        """The triplets whose names are all in the vocabulary: nobody could find the others, which are counted."""
        unknown = truth.predicate < 0
        self.dropped.add("truth: relation with a predicate outside the vocabulary", int(unknown.sum()))
        outside = (truth.objects.labels < 0) & np.array([label is not None for label in labels], bool)
        of_outside = ~unknown & (outside[truth.subject] | outside[truth.object])
        self.dropped.add("truth: relation of a region with a label outside the vocabulary", int(of_outside.sum()))
        return truth.rows(~unknown & ~of_outside)

    def _scored(self, item: Judged) -> _Scored:
        """What is kept of an image: no whole table, where it is wide; a failure is counted."""
        answer = item.prediction
        if isinstance(answer, Failure):
            self.failures[answer.reason] += 1
            return _Scored(item.truth, (), np.zeros((0, 2), np.int64), np.zeros((0, 0), np.float32))
        pairs, scores = np.asarray(answer.pairs, np.int64).reshape(-1, 2), np.asarray(answer.scores, np.float32)
        whole = self.measure.mode == "sgdet"
        rows = np.arange(len(answer.regions)) if whole else _rows_of(item.truth, len(answer.regions))
        inside = ((pairs >= 0) & (pairs < len(rows))).all(axis=1)
        if not inside.all():
            self.dropped.add("pair with a region index out of range", int((~inside).sum()))
            pairs, scores = pairs[inside], scores[inside]
        if scores.size and len(answer.predicates) >= _WIDE:
            return self._listed(item.truth, answer, pairs, rows, scores)
        self.dropped.add("score that is not finite", int(np.count_nonzero(~np.isfinite(scores))))
        return _Scored(
            truth=item.truth, regions=answer.regions, pairs=rows[pairs], scores=scores, columns=answer.predicates
        )

    def _listed(self, truth: SceneGraph, answer: Ranking, pairs: Ints, rows: Ints, scores: Floats) -> _Scored:
        """The cells of a wide table that can be listed; they rank as they would among all."""
        scores, best, wrong = clean_table(scores)
        self.dropped.add("score that is not finite", wrong)
        if answer.predicates != self._coded[0]:
            self._coded = answer.predicates, self.words.predicted_predicates.codes(answer.predicates)
        scores, codes = merge_columns(scores, self._coded[1])
        convention = self.measure.convention
        weight, places = self._weight(answer.regions, pairs), rows[pairs]
        always = self._related(truth, places)
        if convention.ranked:
            limit = max(self.measure.limit, len(truth.relations))
            cells = listed_cells(scores, best, weight, limit, convention.pair_limit, always)
        else:
            true = [self.words.predicates.find(row.predicate) for row in truth.relations.values()]
            cells = cells_of_columns(scores, best, weight, np.flatnonzero((codes >= 0) & np.isin(codes, true)), always)
        if not len(
            cells.pair
        ):  # pairs were listed, all with score 0: the image is answered, as it is by a narrow table
            cells = Cells(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.float32))
        return _Scored(truth, answer.regions, places[cells.pair], cells.score, codes=codes[cells.column])

    def _weight(self, regions: tuple[Region, ...], pairs: Ints) -> Floats:
        """(P,) the product of the scores of each pair's regions, 1 where the regions are given."""
        if self.measure.mode == "predcls":
            return np.ones(len(pairs), np.float32)
        scores = _scores(regions)
        weight, _ = clean_scores(scores[pairs[:, 0]] * scores[pairs[:, 1]])
        return weight

    def _related(self, truth: SceneGraph, places: Ints) -> Flags:
        """(P,) bool: pairs that the truth relates, which are ranked among themselves where the regions are given."""
        if not self._aligned:
            return np.zeros(len(places), bool)
        span = len(truth.all.regions)
        true = [row.subject * span + row.object for row in truth.relations.values()]
        return np.isin(places[:, 0] * span + places[:, 1], true)

    def _objects(self, graphs: Sequence[Sequence[Region]], names: Names) -> Objects:
        regions = [region for graph in graphs for region in graph]
        return Objects(
            offsets_of(len(graph) for graph in graphs),
            np.array([_box(region) for region in regions], np.float32).reshape(-1, 4),
            self._labels(regions, names),
            _scores(regions),
        )

    def _labels(self, regions: Sequence[Region], names: Names) -> Ints:
        labels = names.codes(region.label for region in regions)
        if self.measure.mode != "predcls":
            return labels
        # Told the labels, a student that is told none has not named anything wrongly: they have a code of their own.
        none = np.array([region.label is None for region in regions], bool)
        return np.where(none, np.int32(len(self.words.labels)), labels)

    def _shown(self, items: Sequence[_Scored], truth: Objects) -> Objects:
        """The truth's regions as the student saw them: its own labels and scores in sgcls, nothing of it in predcls."""
        labels, scores = truth.labels.copy(), np.ones(len(truth.labels), np.float32)
        if self.measure.mode == "predcls":
            return attrs.evolve(truth, scores=scores)
        for image, item in enumerate(items):
            rows = truth.offsets[image] + _rows_of(item.truth, len(item.regions))
            labels[rows] = self._labels(item.regions, self.words.predicted_labels)[: len(rows)]
            scores[rows] = _scores(item.regions[: len(rows)])
        return attrs.evolve(truth, labels=labels, scores=scores)

    def _predictions(self, items: Sequence[_Scored], objects: Objects) -> Dense | Listed:
        """The scores of all images as one table, or as one list of cells."""
        offsets = offsets_of(len(item.pairs) for item in items)
        start = np.repeat(objects.offsets[:-1], np.diff(offsets))
        subject, target = np.concatenate([item.pairs for item in items]).T + start
        listed = [item for item in items if item.codes is not None]
        if listed:
            codes = np.concatenate([item.codes for item in listed if item.codes is not None])
            return Listed(
                objects=objects,
                offsets=offsets,
                subject=subject,
                object=target,
                predicate=codes,
                scores=np.concatenate([item.scores for item in listed]),
            )
        columns = next((item.columns for item in items if item.columns is not None), ())
        scores = [item.scores for item in items if item.scores.size] or [np.zeros((0, len(columns)), np.float32)]
        table, codes = merge_columns(np.concatenate(scores), self.words.predicted_predicates.codes(columns))
        return Dense(objects=objects, offsets=offsets, subject=subject, object=target, scores=table, columns=codes)


def _alike(pending: Sequence[_Scored], item: _Scored) -> bool:
    """Whether an image can stand in one batch with others: of one list of predicates, or of cells; failures always."""
    if item.failed:
        return True
    other = next((each for each in reversed(pending) if not each.failed), item)
    return (other.codes is None) == (item.codes is None) and other.columns == item.columns


def _scores(regions: Sequence[Region]) -> Floats:
    return np.array([1.0 if region.score is None else region.score for region in regions], np.float32)


def _box(region: Region) -> Box:
    return region.box or (region.mask.box if region.mask is not None else None) or _NO_BOX


def _masks(graphs: Sequence[Sequence[Region]]) -> MaskTable:
    """The masks of all regions, an empty one where a region has none."""
    nothing = Mask(height=0, width=0, x=0, y=0, crop_width=0, crop_height=0, counts=b"")
    return MaskTable.of([region.mask or nothing for graph in graphs for region in graph])


def _rows_of(truth: SceneGraph, count: int) -> Ints:
    """Rows of the truth's regions that a student's `count` regions stand for: all of them, else the kept ones."""
    total = len(truth.all.regions)
    if count == total:
        return np.arange(total)
    return np.fromiter(truth.regions, np.int64)[:count]
