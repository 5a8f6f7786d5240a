"""What a relation model thinks of candidate pairs, and of relations that a graph already has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sgforge.graph import Region, Relation, SceneGraph
from sgforge.spatial import Geometry, Layout
from sgforge_baseline.prior.cells import cells_of
from sgforge_baseline.prior.counts import Floats, Ints
from sgforge_baseline.prior.relations import PairBatch, RelationModel

__all__ = ["candidate_pairs", "pair_rates", "relation_rates"]


def pair_rates(model: RelationModel, regions: Sequence[Region], geometry: Geometry, pairs: Ints) -> Floats:
    """(P, C) estimated P(predicate holds | pair) for `pairs`, (P, 2) indices into `regions`."""
    labels = model.label_ids([region.label for region in regions])
    cells = cells_of(Layout.of(geometry, pairs))
    return model.rates(PairBatch(labels[pairs[:, 0]], labels[pairs[:, 1]], cells, np.ones(len(pairs))))


def relation_rates(model: RelationModel, graph: SceneGraph, relations: Sequence[Relation]) -> list[float | None]:
    """The estimate for each relation as it stands; None for a predicate that training had not."""
    column = {predicate: index for index, predicate in enumerate(model.predicates)}
    pairs = np.array([(relation.subject, relation.object) for relation in relations], np.int64).reshape(-1, 2)
    rates = pair_rates(model, graph.all.regions, Geometry.of(graph), pairs)
    return [
        float(rates[row, column[relation.predicate]]) if relation.predicate in column else None
        for row, relation in enumerate(relations)
    ]


def candidate_pairs(boxes: NDArray[np.float64], most: int) -> Ints:
    """(P, 2) all ordered pairs of N boxes (N, 4), or, if these are more than `most`, each region with its nearest.

    Each region then has most // N partners, at least one; a region without a box is farther than any with one, and
    of equally near ones the first count.
    """
    count = len(boxes)
    if count * (count - 1) <= most:
        subject, object_ = np.nonzero(~np.eye(count, dtype=np.bool_))
        return np.stack([subject, object_], axis=1)
    partners = max(1, most // count)
    nearest = [_nearest(boxes, index, partners) for index in range(count)]
    return np.stack([np.repeat(np.arange(count), partners), np.concatenate(nearest)], axis=1)


def _nearest(boxes: NDArray[np.float64], index: int, count: int) -> Ints:
    """The `count` boxes nearest to one of them, in order of their index."""
    box = boxes[index]
    apart = np.maximum(np.maximum(box[:2] - boxes[:, 2:], boxes[:, :2] - box[2:]), 0)
    distance = np.nan_to_num((apart * apart).sum(axis=1), nan=np.finfo(np.float64).max)
    distance[index] = np.inf
    limit = np.partition(distance, count - 1)[count - 1]
    nearer, level = np.flatnonzero(distance < limit), np.flatnonzero(distance == limit)
    return np.sort(np.concatenate([nearer, level[: count - len(nearer)]]))
