"""What a pipeline's evaluator is given (truth and a student's ranking, image by image) as batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import attrs
import numpy as np

from sgforge.graph import CATEGORIES, Box, Mask, Region
from sgforge.masks import MaskTable
from sgforge.stages import Failure, Judged, Mode, Ranking
from sgforge_eval.arrays import Floats, Ints
from sgforge_eval.batch import Dense, EvalBatch, Objects, Truth, offsets_of
from sgforge_eval.dropped import Dropped
from sgforge_eval.reading import Names
from sgforge_eval.run import Vocabulary

__all__ = ["JudgedBatch", "JudgedReader"]

_CELLS = 1 << 22  # pair x predicate scores held at once
_IMAGES = 512
_NO_BOX: Box = (float("nan"),) * 4


@attrs.frozen(eq=False)
class JudgedBatch:
    """A batch, and the masks of the truth's and the predicted regions where they were asked for."""

    batch: EvalBatch
    truth_masks: MaskTable | None = None
    predicted_masks: MaskTable | None = None


@attrs.define
class JudgedReader:
    """Turns Judged values into batches; the codes of `words` are shared by all of them.

    `dropped` counts rows left out by reason; `failures` counts failed images by reason.
    """

    mode: Mode
    words: Vocabulary
    masks: bool = False
    dropped: Dropped = attrs.field(factory=Dropped)
    failures: Counter[str] = attrs.field(factory=Counter)

    def batches(self, judged: Iterable[Judged]) -> Iterator[JudgedBatch]:
        """Batches in order; each holds rankings with one list of predicates."""
        pending: list[Judged] = []
        columns: tuple[str, ...] | None = None
        cells = 0
        for item in judged:
            ranking = item.prediction
            if isinstance(ranking, Ranking):
                full = cells + ranking.scores.size > _CELLS or len(pending) >= _IMAGES
                if pending and (full or columns not in (None, ranking.predicates)):
                    yield self._batch(pending, columns or ())
                    pending, cells, columns = [], 0, None
                columns, cells = ranking.predicates, cells + ranking.scores.size
            pending.append(item)
        if pending:
            yield self._batch(pending, columns or ())

    def _batch(self, items: Sequence[Judged], columns: tuple[str, ...]) -> JudgedBatch:
        truth = self._truth(items)
        rankings = [self._ranking(item) for item in items]
        aligned = self.mode != "sgdet"
        names = self.words.predicted_labels
        objects = self._aligned(items, truth.objects, rankings) if aligned else self._objects(rankings, names)
        pairs = [self._pairs(item, ranking) for item, ranking in zip(items, rankings, strict=True)]
        offsets = offsets_of(len(pair) for pair, _ in pairs)
        start = np.repeat(objects.offsets[:-1], np.diff(offsets))
        both = np.concatenate([pair for pair, _ in pairs]) if pairs else np.zeros((0, 2), np.int64)
        scores = [score for _, score in pairs if score.size] or [np.zeros((0, len(columns)), np.float32)]
        table, codes = _merged(np.concatenate(scores), self.words.predicted_predicates.codes(columns))
        dense = Dense(objects, offsets, both[:, 0] + start, both[:, 1] + start, table, codes)
        failed = np.fromiter((isinstance(item.prediction, Failure) for item in items), bool, len(items))
        batch = EvalBatch(len(items), truth, dense, failed, len(self.words.labels), len(self.words.predicates), aligned)
        if not self.masks:
            return JudgedBatch(batch)
        without = sum(region.mask is None for item in items for region in item.truth.all.regions)
        self.dropped.add("truth: region without a mask, which matches nothing", without)
        true_masks = _masks([item.truth.all.regions for item in items])
        return JudgedBatch(batch, true_masks, true_masks if aligned else _masks(rankings))

    def _truth(self, items: Sequence[Judged]) -> Truth:
        graphs = [item.truth for item in items]
        objects = self._objects([graph.all.regions for graph in graphs], self.words.labels)
        rows = [
            (image, objects.offsets[image] + row.subject, objects.offsets[image] + row.object, row)
            for image, graph in enumerate(graphs)
            for row in graph.relations.values()
        ]
        truth = Truth(
            objects,
            np.array([image for image, *_ in rows], np.int64),
            np.array([subject for _, subject, _, _ in rows], np.int64),
            np.array([target for _, _, target, _ in rows], np.int64),
            self.words.predicates.codes(row.predicate for *_, row in rows).astype(np.int64),
            np.array([CATEGORIES.index(row.category) for *_, row in rows], np.uint8),
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

    def _ranking(self, item: Judged) -> tuple[Region, ...]:
        """The regions of a ranking; none for a failure, which is counted."""
        if isinstance(item.prediction, Failure):
            self.failures[item.prediction.reason] += 1
            return ()
        return item.prediction.regions

    def _objects(self, graphs: Sequence[Sequence[Region]], names: Names) -> Objects:
        regions = [region for graph in graphs for region in graph]
        return Objects(
            offsets_of(len(graph) for graph in graphs),
            np.array([_box(region) for region in regions], np.float32).reshape(-1, 4),
            self._labels(regions, names),
            np.array([1.0 if region.score is None else region.score for region in regions], np.float32),
        )

    def _labels(self, regions: Sequence[Region], names: Names) -> Ints:
        labels = names.codes(region.label for region in regions)
        if self.mode != "predcls":
            return labels
        # Told the labels, a student that is told none has not named anything wrongly: they have a code of their own.
        none = np.array([region.label is None for region in regions], bool)
        return np.where(none, np.int32(len(self.words.labels)), labels)

    def _aligned(self, items: Sequence[Judged], truth: Objects, rankings: Sequence[tuple[Region, ...]]) -> Objects:
        """The truth's regions as the student saw them: its own labels and scores in sgcls, nothing of it in predcls."""
        labels, scores = truth.labels.copy(), np.ones(len(truth.labels), np.float32)
        if self.mode == "predcls":
            return attrs.evolve(truth, scores=scores)
        for image, (item, regions) in enumerate(zip(items, rankings, strict=True)):
            rows = truth.offsets[image] + _rows_of(item, len(regions))
            labels[rows] = self._labels(regions, self.words.predicted_labels)[: len(rows)]
            scores[rows] = [1.0 if region.score is None else region.score for region in regions[: len(rows)]]
        return attrs.evolve(truth, labels=labels, scores=scores)

    def _pairs(self, item: Judged, regions: tuple[Region, ...]) -> tuple[Ints, Floats]:
        """(P, 2) indices into the image's rows of objects and (P, C) scores of a ranking, faulty pairs left out."""
        if isinstance(item.prediction, Failure):
            return np.zeros((0, 2), np.int64), np.zeros((0, 0), np.float32)
        pairs = np.asarray(item.prediction.pairs, np.int64).reshape(-1, 2)
        scores = np.asarray(item.prediction.scores, np.float32)
        rows = np.arange(len(regions)) if self.mode == "sgdet" else _rows_of(item, len(regions))
        inside = ((pairs >= 0) & (pairs < len(rows))).all(axis=1)
        if not inside.all():
            self.dropped.add("pair with a region index out of range", int((~inside).sum()))
            pairs, scores = pairs[inside], scores[inside]
        wrong = int(np.count_nonzero(~np.isfinite(scores)))
        if wrong:
            self.dropped.add("score that is not finite", wrong)
        return rows[pairs], scores


def _merged(scores: Floats, codes: Ints) -> tuple[Floats, Ints]:
    """The table with one column for each known code, the highest where several names stand for one predicate."""
    known = codes >= 0
    unique, place = np.unique(codes[known], return_inverse=True)
    if len(unique) == np.count_nonzero(known):
        return scores, codes
    merged = np.zeros((len(scores), len(unique)), scores.dtype)
    for column, target in zip(np.flatnonzero(known).tolist(), place.tolist(), strict=True):
        np.maximum(merged[:, target], scores[:, column], out=merged[:, target])
    return np.concatenate([merged, scores[:, ~known]], axis=1), np.concatenate([unique, codes[~known]])


def _box(region: Region) -> Box:
    return region.box or (region.mask.box if region.mask is not None else None) or _NO_BOX


def _masks(graphs: Sequence[Sequence[Region]]) -> MaskTable:
    """The masks of all regions, an empty one where a region has none."""
    nothing = Mask(0, 0, 0, 0, 0, 0, b"")
    return MaskTable.of([region.mask or nothing for graph in graphs for region in graph])


def _rows_of(item: Judged, count: int) -> Ints:
    """Rows of the truth's regions that a student's `count` regions stand for: all of them, else the kept ones."""
    total = len(item.truth.all.regions)
    if count == total:
        return np.arange(total)
    return np.fromiter(item.truth.regions, np.int64)[:count]
