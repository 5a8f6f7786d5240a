"""A tiny world with known rules: what relation holds depends on both labels and on how the boxes lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sgforge import Region, Relation, Sample, SceneGraph
from sgforge.dataset import DatasetWriter, Snapshot
from sgforge.stages import Ranking

LABELS = ("man", "dog", "hat", "bench")


def make_sample(seed: int, *, regions: int = 6) -> Sample:
    """Boxes at random in 100 x 100; every pair that a rule names is related, and no other."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(regions):
        x, y = rng.uniform(0, 80, 2)
        width, height = rng.uniform(8, 20, 2)
        rows.append(Region(LABELS[rng.integers(len(LABELS))], (x, y, x + width, y + height)))
    relations = [
        Relation(i, predicate, j, "interactional")
        for i in range(regions)
        for j in range(regions)
        if i != j and (predicate := rule(rows[i], rows[j])) is not None
    ]
    return Sample(f"w{seed:06d}", SceneGraph(100, 100, rows, relations), split="train")


def rule(a: Region, b: Region) -> str | None:
    """What holds of `a` towards `b`; it takes labels and place together to tell."""
    assert a.box is not None
    assert b.box is not None
    leftward = a.box[2] < b.box[0]
    higher = a.box[3] < b.box[1]
    match a.label, b.label:
        case "man", "dog":
            return "leading" if leftward else "following"
        case "dog", "man":
            return "pulling" if leftward else None
        case "man", "hat":
            return "reaching for" if not higher else "dropping"
        case _, "bench" if a.label != "bench" and higher:
            return "jumping on"
    return None


def publish(folder: Path, samples: Sequence[Sample]) -> Snapshot:
    """A snapshot of these samples."""
    with DatasetWriter.open(folder) as writer:
        return writer.publish_source(samples, [i.to_bytes(16, "big") for i in range(len(samples))])


def recall(rankings: Sequence[Ranking], truth: Sequence[Sample], k: int) -> float:
    """Mean share of true triplets among the k best pairs, each with its best predicate."""
    shares = []
    for ranking, sample in zip(rankings, truth, strict=True):
        best = ranking.scores.argmax(axis=1)
        order = np.argsort(-ranking.scores.max(axis=1), kind="stable")[:k]
        found = {
            (int(ranking.pairs[row, 0]), ranking.predicates[best[row]], int(ranking.pairs[row, 1])) for row in order
        }
        true = {relation.triplet for relation in sample.graph.relations.values()}
        if true:
            shares.append(len(found & true) / len(true))
    return float(np.mean(shares))
