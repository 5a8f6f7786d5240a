"""How good a dataset's graphs are, counted from the graphs themselves and, where there is one, from a labelled sample.

Density, shares of categories, entropy and long tail of predicates, spatial relations that the boxes contradict,
agreement between the steps that made relations and between annotations of one photo, duplicates, precision.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np

from sgforge.columns import GraphColumns
from sgforge.graph import CATEGORIES
from sgforge.spatial import Geometry, canonical, degrees
from sgforge.stages import Report
from sgforge_eval.arrays import Flags, Ints
from sgforge_eval.dropped import Dropped
from sgforge_eval.inputs import GraphInput, read_chunks
from sgforge_eval.labels import lemma_key
from sgforge_eval.tasks.base import TaskFileError, field_of, json_lines

__all__ = ["CONTRADICTED", "Judgement", "quality", "read_judgements", "wilson_interval"]

CONTRADICTED: Final = 0.1
"""A spatial relation whose degree on the boxes is below this is contradicted by them."""

_COVERED = (0.5, 0.9, 0.99)


@attrs.frozen
class Judgement:
    """One relation that a person judged: image, its row among all relations of the image, whether it is right."""

    image_id: str
    relation: int
    correct: bool


def read_judgements(path: Path) -> list[Judgement]:
    """A labelled sample: JSONL lines {"image_id", "relation": row, "correct": true or false}."""
    found = []
    for where, row in json_lines(path, "labelled sample"):
        relation = field_of(row, "relation", int, where)
        found.append(Judgement(field_of(row, "image_id", str, where), relation, field_of(row, "correct", bool, where)))
    return found


def wilson_interval(right: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) of nothing."""
    if not total:
        return 0.0, 1.0
    share, square = right / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    reach = z / (1 + square) * math.sqrt(share * (1 - share) / total + square / (4 * total))
    return max(0.0, middle - reach), min(1.0, middle + reach)


@attrs.define
class _Counts:
    """Sums over all chunks."""

    images: int = 0
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
class _Chunk:
    """A chunk with what several counts need: kept rows, row offsets, the image of each relation."""

    columns: GraphColumns
    kept_regions: Flags
    kept: Flags
    image: Ints
    subject: Ints
    object: Ints

    @classmethod
    def of(cls, columns: GraphColumns) -> _Chunk:
        image, region, relation = columns.image, columns.region, columns.relation
        start = np.repeat(image.region_offsets[:-1], image.relation_count)
        subject, target = start + relation.subject, start + relation.object
        kept_regions = region.status == 0
        kept = (relation.status == 0) & kept_regions[subject] & kept_regions[target]
        of_image = np.repeat(np.arange(len(columns)), image.relation_count)
        return cls(columns, kept_regions, kept, of_image, subject, target)

    def names(self, ids: Ints, vocabulary: Sequence[str]) -> Counter[str]:
        counts = np.bincount(ids[ids >= 0], minlength=len(vocabulary)).tolist()
        return Counter({name: count for name, count in zip(vocabulary, counts, strict=True) if count})


def quality(graphs: GraphInput, judgements: Sequence[Judgement] = ()) -> Report:
    """The data-quality report of a dataset or graph JSONL; only kept rows count unless said otherwise."""
    counts, dropped = _Counts(), Dropped()
    wanted: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        wanted.setdefault(judgement.image_id, []).append(judgement)
    for columns in read_chunks(graphs, dropped, what="graphs"):
        chunk = _Chunk.of(columns)
        _count_rows(counts, chunk)
        _count_contradictions(counts, chunk)
        _count_makers(counts, chunk)
        _count_duplicates(counts, chunk)
        _count_judged(counts, chunk, wanted)
    repeated = {digest for digest, count in counts.photos.items() if count > 1}
    if repeated and isinstance(graphs, (str, Path, GraphColumns)):
        counts.photo_agreement = _photo_agreement(graphs, repeated)
    if wanted:
        missing = sum(map(len, wanted.values()))
        dropped.add("judgement of a relation that is not there", missing, next(iter(wanted)))
    return _report(counts, dropped)


def _count_rows(counts: _Counts, chunk: _Chunk) -> None:
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


def _count_contradictions(counts: _Counts, chunk: _Chunk) -> None:
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


def _count_makers(counts: _Counts, chunk: _Chunk) -> None:
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


def _count_duplicates(counts: _Counts, chunk: _Chunk) -> None:
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


def _photo_agreement(graphs: GraphInput, repeated: set[bytes]) -> float:
    """Mean over photos annotated several times of shared over all triplets of names, two annotations at a time."""
    seen: dict[bytes, list[set[tuple[str | None, str, str | None]]]] = {}
    for columns in read_chunks(graphs, Dropped(), what="graphs"):
        for row, digest in enumerate(columns.image.sha256):
            if digest.tobytes() in repeated:
                triplets = {(one, _meaning(verb), other) for one, verb, other in columns.graph(row).triplets()}
                seen.setdefault(digest.tobytes(), []).append(triplets)
    shares = []
    for graphs_of_one in seen.values():
        for first, second in combinations(graphs_of_one, 2):
            if first | second:
                shares.append(len(first & second) / len(first | second))
    return sum(shares) / len(shares) if shares else 0.0


def _count_judged(counts: _Counts, chunk: _Chunk, wanted: dict[str, list[Judgement]]) -> None:
    if not wanted:
        return
    relation, offsets = chunk.columns.relation, chunk.columns.image.relation_offsets
    for row, image_id in enumerate(chunk.columns.image.ids):
        for judgement in wanted.pop(image_id, ()):
            if not 0 <= judgement.relation < offsets[row + 1] - offsets[row]:
                raise TaskFileError(f"labelled sample: image {image_id!r} has no relation {judgement.relation}")
            code = int(relation.predicate[offsets[row] + judgement.relation])
            name = chunk.columns.vocabularies.predicate[code]
            counts.judged[name] += 1
            counts.judged_right[name] += judgement.correct


def _report(counts: _Counts, dropped: Dropped) -> Report:
    frequency = counts.predicates.most_common()
    total = sum(counts.predicates.values())
    shares = [count / total for _, count in frequency] if total else []
    spatial, wrong = sum(counts.spatial.values()), sum(counts.contradicted.values())
    values = {
        "triplets_per_image": _share(counts.relations, counts.images),
        "regions_per_image": _share(counts.regions, counts.images),
        "predicates_per_region": _share(counts.kinds_per_region, counts.regions),
        "rejected_share": _share(counts.rejected, counts.rejected + counts.relations),
        "predicates": float(len(frequency)),
        "predicate_entropy_bits": -sum(share * math.log2(share) for share in shares),
        "contradiction_rate": _share(wrong, spatial),
        "spatial_untold": float(counts.untold),
        "duplicate_relations": float(counts.repeated_relations),
        "duplicate_regions": float(counts.repeated_regions),
        "duplicate_photos": float(sum(count - 1 for count in counts.photos.values())),
        **{f"category/{name}": _share(counts.categories[name], total) for name in CATEGORIES},
    }
    if counts.shared_pairs:
        values["agreement_of_steps"] = counts.agreed_pairs / counts.shared_pairs
    if counts.photo_agreement is not None:
        values["agreement_of_sources"] = counts.photo_agreement
    for part in _COVERED if shares else ():
        cover = int(np.searchsorted(np.cumsum(shares), part - 1e-12) + 1)
        values[f"predicates_for_{part:.0%}"] = float(min(cover, len(shares)))
    judged, right = sum(counts.judged.values()), sum(counts.judged_right.values())
    if judged:
        low, high = wilson_interval(right, judged)
        values |= {"precision": right / judged, "precision_low": low, "precision_high": high}
    notes = [
        f"a spatial relation is contradicted when its degree on boxes and depths is below {CONTRADICTED}",
        f"{counts.shared_pairs} pairs of regions have relations of more than one step",
        *dropped.lines(),
    ]
    tables = {
        "long_tail": _long_tail(frequency, total),
        "contradictions": _rates(counts.contradicted, counts.spatial, "predicate", "contradicted"),
        "steps": _rates(counts.made_kept, counts.made, "step", "kept"),
        "precision": _precision(counts),
    }
    return Report("quality", values, "kept rows", tables, counts.images, {}, tuple(notes))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _long_tail(frequency: Iterable[tuple[str, int]], total: int) -> list[dict[str, Any]]:
    """One row per predicate, most frequent first, with the share that it and all before it cover."""
    rows, sum_so_far = [], 0
    for rank, (name, count) in enumerate(frequency, 1):
        sum_so_far += count
        rows.append({"rank": rank, "predicate": name, "count": count, "covered": sum_so_far / total})
    return rows


def _rates(part: Counter[str], whole: Counter[str], key: str, name: str) -> list[dict[str, Any]]:
    return [{key: item, "count": count, name: part[item] / count} for item, count in whole.most_common() if count]


def _precision(counts: _Counts) -> list[dict[str, Any]]:
    rows = []
    for name, total in counts.judged.most_common():
        low, high = wilson_interval(counts.judged_right[name], total)
        share = counts.judged_right[name] / total
        rows.append({"predicate": name, "judged": total, "precision": share, "low": low, "high": high})
    return rows
