"""Fitting the relation model on columns: which pairs count, and as what.

Positive pairs are those of kept relations between kept regions. The other candidates are the pairs of a subject that
has at least one kept relation: a region that nobody described says nothing about what does not hold of it. Of a
subject with more than `_OBJECTS` candidates, that many are taken at even steps and weigh accordingly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

import attrs
import numpy as np

from sgforge.columns import GraphColumns
from sgforge.graph import CATEGORIES
from sgforge.spatial import Layout
from sgforge_baseline.prior.cells import cells_of
from sgforge_baseline.prior.counts import Ints
from sgforge_baseline.prior.relations import PairBatch, RelationCounter, RelationModel

__all__ = ["Fitted", "fit"]

_OBJECTS: Final = 64


@attrs.frozen(eq=False)
class Fitted:
    """A fitted model and how much it saw."""

    model: RelationModel
    images: int
    relations: int


@attrs.frozen(eq=False)
class _Rows:
    """Kept relations of one block, each triplet once, and the kept regions; all indices are the block's rows."""

    subject: Ints
    object: Ints
    predicate: Ints
    category: Ints
    kept: Ints
    first: Ints
    count: Ints
    image: Ints

    @classmethod
    def of(cls, columns: GraphColumns) -> Self:
        """`kept`: kept region rows in order; image i has `count[i]` of them from place `first[i]`."""
        region, relation = columns.region, columns.relation
        images = len(columns.image.width)
        region_image = np.repeat(np.arange(images), columns.image.region_count)
        start = columns.image.region_offsets[np.repeat(np.arange(images), columns.image.relation_count)]
        subject, object_ = start + relation.subject, start + relation.object
        is_kept = region.status == 0
        good = (relation.status == 0) & is_kept[subject] & is_kept[object_]
        triplets = np.stack([subject, object_, relation.predicate, relation.category], axis=1)[good].astype(np.int64)
        _, once = np.unique(triplets[:, :3], axis=0, return_index=True)
        subject, object_, predicate, category = triplets[np.sort(once)].T
        count = np.bincount(region_image[is_kept], minlength=images)
        first = np.cumsum(count) - count
        return cls(subject, object_, predicate, category, np.flatnonzero(is_kept), first, count, region_image)


def fit(blocks: Iterable[GraphColumns], strength: float) -> Fitted:
    """The model of all blocks, which share their vocabularies; `strength` as in `RelationModel`."""
    counter: RelationCounter | None = None
    labels: tuple[str, ...] = ()
    predicates: tuple[str, ...] = ()
    votes = np.zeros((0, len(CATEGORIES)), np.int64)
    images = relations = 0
    for block in blocks:
        if counter is None:
            labels, predicates = block.vocabularies.label, block.vocabularies.predicate
            counter = RelationCounter(len(labels) + 1, len(predicates))
            votes = np.zeros((len(predicates), len(CATEGORIES)), np.int64)
        rows = _Rows.of(block)
        np.add.at(votes, (rows.predicate, rows.category), 1)
        _count_block(counter, block, rows)
        images, relations = images + len(block), relations + len(rows.subject)
    counter = counter or RelationCounter(1, 0)
    categories = [CATEGORIES[index] for index in votes.argmax(axis=1)]
    return Fitted(counter.model(labels, predicates, categories, strength), images, relations)


def _count_block(counter: RelationCounter, block: GraphColumns, rows: _Rows) -> None:
    regions = len(block.region.status)
    held = rows.subject * regions + rows.object
    positive, row = np.unique(held, return_inverse=True)
    others, weight = _candidates(rows)
    keys = others[:, 0] * regions + others[:, 1]
    is_new = ~np.isin(keys, positive) & (others[:, 0] != others[:, 1])
    pairs = np.concatenate(
        [np.stack([positive // max(regions, 1), positive % max(regions, 1)], axis=1), others[is_new]]
    )
    labels = block.region.label.astype(np.int64)
    labels = np.where(labels < 0, len(block.vocabularies.label), labels)
    boxes = block.region.box
    layout = Layout.of_boxes(boxes[pairs[:, 0]], boxes[pairs[:, 1]])
    batch = PairBatch(
        labels[pairs[:, 0]],
        labels[pairs[:, 1]],
        cells_of(layout),
        np.concatenate([np.ones(len(positive)), weight[is_new]]),
    )
    counter.add(batch, row, rows.predicate)


def _candidates(rows: _Rows) -> tuple[Ints, np.ndarray]:
    """(Q, 2) pairs of each described subject with kept regions of its image, and the weight of each."""
    subjects = np.unique(rows.subject)
    image = rows.image[subjects]
    count = rows.count[image]
    taken = np.minimum(count, _OBJECTS)
    who = np.repeat(np.arange(len(subjects)), taken)
    step = np.arange(len(who)) - np.repeat(np.cumsum(taken) - taken, taken)
    place = rows.first[image][who] + step * count[who] // np.maximum(taken[who], 1)
    pairs = np.stack([subjects[who], rows.kept[place]], axis=1)
    return pairs, count[who] / taken[who]
