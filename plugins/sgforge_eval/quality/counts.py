"""What a quality report counts, chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Final

import attrs
import numpy as np

from sgforge.columns import GraphColumns
from sgforge.graph import CATEGORIES
from sgforge.labels import lemma_key
from sgforge.spatial import Geometry, canonical, degrees
from sgforge_eval.intake.arrays import Flags, Ints
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.inputs import GraphInput, read_chunks
from sgforge_eval.quality.sample import Judgement
from sgforge_eval.tasks.base import TaskFileError

__all__ = [
    "CONTRADICTED",
    "Chunk",
    "Counts",
    "count_contradictions",
    "count_duplicates",
    "count_judged",
    "count_makers",
    "count_rows",
    "photo_agreement",
]

CONTRADICTED: Final = 0.1
"""A spatial relation whose degree on the boxes is below this is contradicted by them."""


@attrs.define
class Counts:
    """Sums over all chunks; `skipped`: images left out, by reason."""

    images: int = 0
    skipped: Counter[str] = attrs.field(factory=Counter)
    regions: int = 0
    relations: int = 0
    rejected: int = 0
    kinds_per_region: int = 0
    categories: Counter[str] = attrs.field(factory=Counter)
    predicates: Counter[str] = attrs.field(factory=Counter)
    spatial: Counter[str] = attrs.field(factory=Counter)
    contradicted: Counter[str] = attrs.field(factory=Counter)
    untold: int = 0
    made: Counter[str] = attrs.field(factory=Counter)
    made_kept: Counter[str] = attrs.field(factory=Counter)
    shared_pairs: int = 0
    agreed_pairs: int = 0
    repeated_relations: int = 0
    repeated_regions: int = 0
    photos: Counter[bytes] = attrs.field(factory=Counter)
    photo_agreement: float | None = None
    judged: Counter[str] = attrs.field(factory=Counter)
    judged_right: Counter[str] = attrs.field(factory=Counter)


@attrs.frozen(eq=False)
class Chunk:
    """A chunk with what several counts need: kept rows, row offsets, the image of each relation."""

    columns: GraphColumns
    kept_regions: Flags
    kept: Flags
    image: Ints
    subject: Ints
    object: Ints

    @classmethod
    def of(cls, columns: GraphColumns) -> Chunk:
        image, region, relation = columns.image, columns.region, columns.relation
        start = np.repeat(image.region_offsets[:-1], image.relation_count)
        subject, target = start + relation.subject, start + relation.object
        kept_regions = region.status == 0
        kept = (relation.status == 0) & kept_regions[subject] & kept_regions[target]
        of_image = np.repeat(np.arange(len(columns)), image.relation_count)
        return cls(
            columns=columns, kept_regions=kept_regions, kept=kept, image=of_image, subject=subject, object=target
        )

    def names(self, ids: Ints, vocabulary: Sequence[str]) -> Counter[str]:
        counts = np.bincount(ids[ids >= 0], minlength=len(vocabulary)).tolist()
        return Counter({name: count for name, count in zip(vocabulary, counts, strict=True) if count})


def alive_images(columns: GraphColumns, skipped: Counter[str]) -> GraphColumns:
    """The images that no step dropped or failed on; the others are counted in `skipped`."""
    image = columns.image
    dropped = image.dropped >= 0
    failed = ~dropped & ((image.failed_step >= 0) | (image.failed_reason >= 0))
    for reason, which in (("dropped by a step", dropped), ("failed at a step", failed)):
        if which.any():
            skipped[reason] += int(np.count_nonzero(which))
    alive = ~(dropped | failed)
    return columns if alive.all() else columns.gather(np.flatnonzero(alive))


def count_rows(counts: Counts, chunk: Chunk) -> None:
    """Images, regions, relations, what of them is rejected, categories and predicates."""
    columns, kept = chunk.columns, chunk.kept
    relation = columns.relation
    counts.images += len(columns)
    counts.regions += int(chunk.kept_regions.sum())
    counts.relations += int(kept.sum())
    counts.rejected += int((~kept).sum())
    span = len(columns.vocabularies.predicate) + 1
    counts.kinds_per_region += len(np.unique(chunk.subject[kept] * span + relation.predicate[kept]))
    counts.categories += chunk.names(relation.category[kept].astype(np.int64), CATEGORIES)
    counts.predicates += chunk.names(relation.predicate[kept], columns.vocabularies.predicate)


def count_contradictions(counts: Counts, chunk: Chunk) -> None:
    """Degrees of the spatial relations of all images at once, on boxes and depths."""
    region, relation = chunk.columns.region, chunk.columns.relation
    corners = region.mask_crop.astype(np.float64)
    corners[:, 2:] += corners[:, :2]
    without = np.isnan(region.box).all(axis=1) & (region.has_mask == 1)
    geometry = Geometry.from_boxes(np.where(without[:, None], corners, region.box), region.depth)
    pairs = np.stack([chunk.subject, chunk.object], axis=1)
    words = chunk.columns.vocabularies.predicate
    for code in np.unique(relation.predicate[chunk.kept]).tolist():
        predicate = canonical(words[code]) if code >= 0 else None
        if predicate is None:
            continue
        rows = np.flatnonzero(chunk.kept & (relation.predicate == code))
        degree = degrees(geometry, pairs[rows], [predicate.name])[:, 0]
        told = ~np.isnan(degree)
        counts.untold += int((~told).sum())
        counts.spatial[predicate.name] += int(told.sum())
        counts.contradicted[predicate.name] += int((degree[told] < CONTRADICTED).sum())


def count_makers(counts: Counts, chunk: Chunk) -> None:
    """Rows per step that made them, and pairs on which several steps spoke: do any two say the same?"""
    relation, words = chunk.columns.relation, chunk.columns.vocabularies
    counts.made += chunk.names(relation.made_by, words.step)
    counts.made_kept += chunk.names(relation.made_by[chunk.kept], words.step)
    spoken = np.flatnonzero(chunk.kept & (relation.made_by >= 0) & (relation.predicate >= 0))
    span = max(len(chunk.columns.region.label), 1)
    meanings: dict[str, int] = {}
    meaning = np.array([meanings.setdefault(_meaning(name), len(meanings)) for name in words.predicate] or [0])
    pair = chunk.subject[spoken] * span + chunk.object[spoken]
    maker, said = relation.made_by[spoken].astype(np.int64), meaning[relation.predicate[spoken]]
    makers = np.unique(np.stack([pair, maker], axis=1), axis=0)
    several = _repeated(makers[:, 0])
    claims = np.unique(np.stack([pair, said, maker], axis=1), axis=0)
    same = claims[1:][(claims[1:, 0] == claims[:-1, 0]) & (claims[1:, 1] == claims[:-1, 1])][:, 0]
    counts.shared_pairs += len(several)
    counts.agreed_pairs += len(np.intersect1d(several, same))


def _meaning(predicate: str) -> str:
    spatial = canonical(predicate)
    return spatial.name if spatial is not None else lemma_key(predicate)


def _repeated(values: Ints) -> Ints:
    unique, count = np.unique(values, return_counts=True)
    return unique[count > 1]


def count_duplicates(counts: Counts, chunk: Chunk) -> None:
    """Kept relations and regions (label and box) that stand several times in one image; photos by their bytes."""
    columns, kept = chunk.columns, chunk.kept
    span, words = max(len(columns.region.label), 1), len(columns.vocabularies.predicate) + 1
    key = (chunk.subject[kept] * span + chunk.object[kept]) * words + columns.relation.predicate[kept]
    counts.repeated_relations += len(key) - len(np.unique(key))
    region, image = columns.region, np.repeat(np.arange(len(columns)), columns.image.region_count)
    boxed = chunk.kept_regions & ~np.isnan(region.box).any(axis=1)
    rows = np.column_stack([image, region.label, region.box.astype(np.float64)])[boxed]
    counts.repeated_regions += len(rows) - len(np.unique(rows, axis=0))
    known = columns.image.sha256.any(axis=1)
    counts.photos.update(digest.tobytes() for digest in columns.image.sha256[known])


def photo_agreement(graphs: GraphInput, repeated: set[bytes]) -> float | None:
    """Mean over photos annotated several times of shared over all triplets of names, two annotations at a time.

    None where no two annotations of a photo have a triplet.
    """
    seen: dict[bytes, list[set[tuple[str | None, str, str | None]]]] = {}
    for columns in read_chunks(graphs, Dropped(), what="graphs"):
        alive = alive_images(columns, Counter())
        for row, digest in enumerate(alive.image.sha256):
            if digest.tobytes() in repeated:
                triplets = {(one, _meaning(verb), other) for one, verb, other in alive.graph(row).triplets()}
                seen.setdefault(digest.tobytes(), []).append(triplets)
    shares = []
    for graphs_of_one in seen.values():
        for first, second in combinations(graphs_of_one, 2):
            if first | second:
                shares.append(len(first & second) / len(first | second))
    return sum(shares) / len(shares) if shares else None


def count_judged(counts: Counts, chunk: Chunk, wanted: dict[str, list[Judgement]], dropped: Dropped) -> None:
    """Judgements of kept relations; those of relations rejected since are counted in `dropped`."""
    if not wanted:
        return
    relation, offsets = chunk.columns.relation, chunk.columns.image.relation_offsets
    for row, image_id in enumerate(chunk.columns.image.ids):
        for judgement in wanted.pop(image_id, ()):
            if not 0 <= judgement.relation < offsets[row + 1] - offsets[row]:
                raise TaskFileError(f"labelled sample: image {image_id!r} has no relation {judgement.relation}")
            place = offsets[row] + judgement.relation
            if not chunk.kept[place]:
                dropped.add("judgement of a relation that is rejected", 1, image_id)
                continue
            name = chunk.columns.vocabularies.predicate[int(relation.predicate[place])]
            counts.judged[name] += 1
            counts.judged_right[name] += judgement.correct
