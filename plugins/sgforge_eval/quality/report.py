"""From counts to the report: shares, entropy, long tail, rates, precision."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sgforge.columns import GraphColumns
from sgforge.graph import CATEGORIES
from sgforge.stages import Report
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.inputs import GraphInput, read_chunks
from sgforge_eval.quality.counts import (
    CONTRADICTED,
    Chunk,
    Counts,
    alive_images,
    count_contradictions,
    count_duplicates,
    count_judged,
    count_makers,
    count_rows,
    photo_agreement,
)
from sgforge_eval.quality.sample import Judgement, by_image, wilson_interval

__all__ = ["quality"]

_COVERED = (0.5, 0.9, 0.99)


def quality(graphs: GraphInput, judgements: Sequence[Judgement] = ()) -> Report:
    """The data-quality report of a dataset or graph JSONL; only kept rows count unless said otherwise."""
    counts, dropped = Counts(), Dropped()
    wanted = by_image(judgements, dropped)
    for columns in read_chunks(graphs, dropped, what="graphs"):
        chunk = Chunk.of(alive_images(columns, counts.skipped))
        count_rows(counts, chunk)
        count_contradictions(counts, chunk)
        count_makers(counts, chunk)
        count_duplicates(counts, chunk)
        count_judged(counts, chunk, wanted, dropped)
    repeated = {digest for digest, count in counts.photos.items() if count > 1}
    if repeated and isinstance(graphs, (str, Path, GraphColumns)):
        counts.photo_agreement = photo_agreement(graphs, repeated)
    if wanted:
        missing = sum(map(len, wanted.values()))
        dropped.add("judgement of an image that is not there", missing, next(iter(wanted)))
    return _report(counts, dropped)


def _report(counts: Counts, dropped: Dropped) -> Report:
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
    return Report(
        metric="quality",
        values=values,
        convention="kept rows",
        tables=tables,
        images_used=counts.images,
        images_skipped=dict(counts.skipped),
        notes=tuple(notes),
    )


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


def _precision(counts: Counts) -> list[dict[str, Any]]:
    rows = []
    for name, total in counts.judged.most_common():
        low, high = wilson_interval(counts.judged_right[name], total)
        share = counts.judged_right[name] / total
        rows.append({"predicate": name, "judged": total, "precision": share, "low": low, "high": high})
    return rows
