"""Degrees held against relations that are true: of made scenes, and of photos that people looked at."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest
from PIL import Image
from support.environment import ANNOTATIONS

from sgforge import Region
from sgforge.masks import from_array
from sgforge.spatial import Geometry, canonical, degree_of, degrees, predicate_named
from sgforge.testing.scenes import make_scene

LIMIT = 0.1
"""Below it a filter rejects; the default of `spatial-rules`."""


def share(values: Sequence[float]) -> float:
    """Share of the degrees that a filter lets pass."""
    return float(np.mean(np.array(values) >= LIMIT))


@pytest.mark.parametrize("with_masks", [True, False])
def test_true_relations_of_made_scenes_pass_and_their_reversals_do_not(with_masks: bool) -> None:
    true, turned = defaultdict(list), defaultdict(list)
    for seed in range(7000, 7060):
        graph = make_scene(seed, 128).sample.graph
        if not with_masks:
            bare = [attrs.evolve(region, mask=None) for region in graph.all.regions]
            graph = attrs.evolve(graph, regions=bare)
        for relation in graph.relations.values():
            spatial = canonical(relation.predicate)
            if spatial is None:
                continue
            true[relation.predicate].append(degree_of(graph, relation))
            if not spatial.symmetric:
                back = attrs.evolve(relation, subject=relation.object, object=relation.subject)
                turned[relation.predicate].append(degree_of(graph, back))
    assert len(true) >= 12
    for predicate, held in true.items():
        # Of small things side by side some are a whole size apart.
        assert share(held) >= (0.95 if predicate == "next to" else 0.99), predicate
        # By boxes alone, what stands under a table might as well be a spot on it.
        assert share(turned.get(predicate, [0.0])) <= (0.2 if predicate == "under" and not with_masks else 0.01), (
            predicate
        )


# What one sees in the two sample photos of COCO's panoptic set, by the places of the segments in the annotation file.
RUGBY = """
2 above 0, 5 above 1, 14 above 3, 16 above 17, 15 above 17, 0 under 2, 1 under 5, 17 under 10, 17 below 16, 17 below 15,
0 on 17, 1 on 17, 3 on 17, 4 on 17, 6 on 17, 8 on 17, 10 on 17, 11 on 17, 10 in 17, 4 in 17, 17 supporting 3,
4 left of 10, 10 left of 6, 6 left of 0, 0 left of 3, 3 left of 1, 1 left of 8, 8 left of 7, 14 left of 5, 8 right of 1,
7 right of 8, 6 next to 0, 0 next to 3, 1 next to 8
"""
RIDERS = """
10 on 25, 0 on 16, 5 on 20, 3 on 24, 7 on 23, 9 on 22, 1 on 21, 6 on 26, 4 on 19, 25 under 10, 16 under 0, 23 under 7,
26 under 6, 20 under 5, 16 on 28, 20 on 28, 22 on 31, 23 on 31, 26 on 31, 21 on 31, 12 on 31, 28 under 16, 31 under 26,
31 under 22, 15 left of 14, 10 left of 0, 0 left of 5, 5 left of 3, 3 left of 7, 7 left of 9, 9 left of 1, 1 left of 6,
25 left of 16, 16 left of 20, 20 left of 24, 24 left of 23, 23 left of 22, 22 left of 21, 21 left of 26, 12 right of 2,
30 above 29, 29 above 31, 30 above 31, 10 above 25, 7 above 23, 2 next to 12, 19 next to 16, 20 next to 24,
24 next to 20, 25 supporting 10, 23 supporting 7
"""


def triplets(text: str) -> Iterable[tuple[int, str, int]]:
    for line in text.replace("\n", " ").split(","):
        subject, *predicate, object_ = line.split()
        yield int(subject), " ".join(predicate), int(object_)


def panoptic_geometry(folder: Path, image: int) -> Geometry:
    """All segments of one sample photo, in the order of the annotation file."""
    document = json.loads((folder / "panoptic_examples.json").read_text())
    (annotation,) = (row for row in document["annotations"] if row["image_id"] == image)
    pixels = np.asarray(Image.open(folder / annotation["file_name"])).astype(np.int64)
    ids = pixels @ np.array([1, 256, 65536])
    return Geometry.of_regions(Region(mask=from_array(ids == s["id"])) for s in annotation["segments_info"])


@pytest.mark.parametrize(("image", "text"), [(142238, RUGBY), (439180, RIDERS)])
def test_no_relation_that_one_sees_in_a_photo_is_rejected(image: int, text: str) -> None:
    geometry = panoptic_geometry(ANNOTATIONS / "coco_panoptic", image)
    turned = []
    for subject, predicate, object_ in triplets(text):
        there, back = degrees(geometry, np.array([[subject, object_], [object_, subject]]), [predicate])[:, 0]
        assert there >= LIMIT, f"{subject} {predicate} {object_}"
        if not predicate_named(predicate).symmetric:
            turned.append(back)
    assert share(turned) <= 0.03
