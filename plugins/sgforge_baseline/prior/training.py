"""Fitting the relation model on the columns of a snapshot: which pairs count, and as what.

Positive pairs are those of kept relations between kept regions, each triplet once; a relation counts as much as its
score says, one without a score (an annotated one) fully. The other candidates are all other pairs of an image with at
least one kept relation; those of a subject that nobody described weigh less (see `_candidates`). Of a subject with more
than `_OBJECTS` candidates, that many are taken at even steps and weigh accordingly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.graph import CATEGORIES
from sgforge.spatial import Layout
from sgforge_baseline.prior.cells import cells_of
from sgforge_baseline.prior.counts import Floats, Ints
from sgforge_baseline.prior.relations import PairBatch, RelationCounter, RelationModel

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["Fitted", "fit"]

_OBJECTS: Final = 64
_BLOCK: Final = 4096
_KEPT: Final = 0


@attrs.frozen(eq=False)
class Fitted:
    """A fitted model, and how many relations it counted."""

    model: RelationModel
    relations: int


@attrs.frozen(eq=False)
class _Block:
    """Some images: their kept regions and kept relations; all indices are places among these regions.

    `label`: (M,) ids, the number of labels for none. `box`: (M, 4). `image`: (M,) which image a region is of; image i
    has `count[i]` regions from place `first[i]`. `triplets`: (R, 3) subject, object, predicate, no two equal.
    `category`, `weight`: (R,).
    """

    label: Ints
    box: NDArray[np.float32]
    image: Ints
    first: Ints
    count: Ints
    triplets: Ints
    category: Ints
    weight: Floats


@attrs.frozen(eq=False)
class _Columns:
    """The columns that training reads, whole; starts are (N + 1,) row offsets by image."""

    region_starts: Ints
    relation_starts: Ints
    label: Ints
    box: NDArray[np.float32]
    region_kept: NDArray[np.bool_]
    triplets: Ints
    category: Ints
    weight: Floats
    relation_kept: NDArray[np.bool_]

    @classmethod
    def read(cls, snapshot: Snapshot) -> Self:
        column: Any = snapshot.column
        label = column("region/label").astype(np.int64)
        ends = [column(f"relation/{name}").astype(np.int64) for name in ("subject", "object", "predicate")]
        return cls(
            region_starts=_starts(column("image/region_count")),
            relation_starts=_starts(column("image/relation_count")),
            label=np.where(label < 0, len(snapshot.vocabularies.label), label),
            box=column("region/box"),
            region_kept=column("region/status") == _KEPT,
            triplets=np.stack(ends, axis=1),
            category=column("relation/category").astype(np.int64),
            weight=np.nan_to_num(column("relation/score").astype(np.float64), nan=1.0),
            relation_kept=column("relation/status") == _KEPT,
        )

    def block(self, images: Ints) -> _Block:
        """The images of these rows."""
        regions, owner = _expand(self.region_starts, images)
        relations, of = _expand(self.relation_starts, images)
        kept = self.region_kept[regions]
        # From image-local to block rows, and from these to places among the kept ones.
        sizes = np.bincount(owner, minlength=len(images))
        starts = np.cumsum(sizes) - sizes
        place = np.cumsum(kept) - 1
        ends = starts[of][:, None] + self.triplets[relations, :2]
        good = self.relation_kept[relations] & kept[ends].all(axis=1)
        triplets = np.concatenate([place[ends[good]], self.triplets[relations[good], 2:]], axis=1)
        _, once = np.unique(triplets, axis=0, return_index=True)
        count = np.bincount(owner[kept], minlength=len(images))
        return _Block(
            label=self.label[regions[kept]],
            box=self.box[regions[kept]],
            image=owner[kept],
            first=np.cumsum(count) - count,
            count=count,
            triplets=triplets[once],
            category=self.category[relations[good]][once],
            weight=self.weight[relations[good]][once],
        )


def fit(snapshot: Snapshot, images: Ints, strength: float) -> Fitted:
    """The model of these image rows; `strength` as in `RelationModel`."""
    labels, predicates = snapshot.vocabularies.label, snapshot.vocabularies.predicate
    counter = RelationCounter(len(labels) + 1, len(predicates))
    votes = np.zeros((len(predicates), len(CATEGORIES)), np.int64)
    relations = 0
    for block in _blocks(_Columns.read(snapshot), images):
        np.add.at(votes, (block.triplets[:, 2], block.category), 1)
        _count_block(counter, block)
        relations += len(block.triplets)
    categories = [CATEGORIES[index] for index in votes.argmax(axis=1)]
    model = RelationModel(
        labels=labels, predicates=predicates, categories=tuple(categories), strength=strength, tables=counter.tables()
    )
    return Fitted(model, relations)


def _blocks(columns: _Columns, images: Ints) -> Iterator[_Block]:
    for start in range(0, len(images), _BLOCK):
        yield columns.block(images[start : start + _BLOCK])


def _count_block(counter: RelationCounter, block: _Block) -> None:
    regions = max(len(block.label), 1)
    held, row = np.unique(block.triplets[:, 0] * regions + block.triplets[:, 1], return_inverse=True)
    others, weight = _candidates(block)
    is_other = ~np.isin(others[:, 0] * regions + others[:, 1], held) & (others[:, 0] != others[:, 1])
    pairs = np.concatenate([np.stack([held // regions, held % regions], axis=1), others[is_other]])
    layout = Layout.of_boxes(block.box[pairs[:, 0]], block.box[pairs[:, 1]])
    weights = np.concatenate([np.ones(len(held)), weight[is_other]])
    batch = PairBatch(block.label[pairs[:, 0]], block.label[pairs[:, 1]], cells_of(layout), weights)
    counter.add(batch, row, block.triplets[:, 2], block.weight)


def _candidates(block: _Block) -> tuple[Ints, Floats]:
    """(Q, 2) pairs of each subject with regions of its image, itself among them, and what each weighs.

    The pairs of a subject that nobody described weigh as the share of its image's regions that are described: where
    all others are, silence tells something, where five of fifty are, it hardly does.
    """
    described = np.zeros(len(block.label), np.bool_)
    described[block.triplets[:, 0]] = True
    share = np.bincount(block.image, described, len(block.count)) / np.maximum(block.count, 1)
    telling = np.where(described, 1.0, share[block.image])
    subjects = np.flatnonzero(telling)
    image = block.image[subjects]
    count = block.count[image]
    taken = np.minimum(count, _OBJECTS)
    who = np.repeat(np.arange(len(subjects)), taken)
    step = np.arange(len(who)) - np.repeat(np.cumsum(taken) - taken, taken)
    place = block.first[image][who] + step * count[who] // np.maximum(taken[who], 1)
    return np.stack([subjects[who], place], axis=1), telling[subjects][who] * count[who] / taken[who]


def _starts(counts: NDArray[Any]) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def _expand(starts: Ints, images: Ints) -> tuple[Ints, Ints]:
    """All rows of these images, in order, and which of the images each is of."""
    counts = starts[images + 1] - starts[images]
    owner = np.repeat(np.arange(len(images)), counts)
    rows = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + starts[images][owner]
    return rows, owner
