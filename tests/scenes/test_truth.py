"""The graph of a scene, held against what the masks alone say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from sgforge.graph import Relation
from sgforge.testing.scenes import Scene, make_scene

SIZE = 256
SMALL = 96
SLACK = 3.0
"""Pixels by which a rendered edge may differ from the drawn shape's extent."""


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(seed, SIZE) for seed in range(1000, 1080)]


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return [make_scene(seed, SMALL) for seed in range(3000, 3150)]


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def things(scene: Scene) -> range:
    return range(len(scene.masks) - 2)


def relations(scenes: list[Scene], *predicates: str) -> Iterator[tuple[Scene, Relation]]:
    for scene in scenes:
        for relation in scene.sample.graph.relations.values():
            if relation.predicate in predicates:
                yield scene, relation


def labels(scene: Scene, relation: Relation) -> tuple[str | None, str | None]:
    regions = scene.sample.graph.regions
    return regions[relation.subject].label, regions[relation.object].label


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    """The mask and all pixels at most `by` away (in rows and columns)."""
    padded = np.pad(mask, by)
    shifts = range(2 * by + 1)
    size = mask.shape[0]
    return np.any([padded[r : r + size, c : c + size] for r in shifts for c in shifts], axis=0)


def triplets(scene: Scene) -> set[tuple[int, str, int]]:
    return {relation.triplet for relation in scene.sample.graph.relations.values()}


def test_no_triplet_stands_twice(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert len(triplets(scene)) == len(scene.sample.graph.relations)


def test_inverses_are_there(scenes: list[Scene]) -> None:
    inverse = {
        "left of": "right of", "right of": "left of", "in front of": "behind", "behind": "in front of",
        "inside": "contains", "contains": "inside", "next to": "next to", "below": "above",
    }  # fmt: skip
    for scene in scenes:
        held = triplets(scene)
        for subject, predicate, object_ in held:
            if predicate in inverse:
                assert (object_, inverse[predicate], subject) in held


def test_left_of_is_so_on_the_screen(scenes: list[Scene]) -> None:
    found = list(relations(scenes, "left of"))
    assert len(found) > 200
    for scene, relation in found:
        a, b = extent(scene.full[relation.subject]), extent(scene.full[relation.object])
        narrower = min(a[2] - a[0], b[2] - b[0])
        assert a[2] - b[0] <= 0.1 * narrower + SLACK
        assert a[0] + a[2] < b[0] + b[2]


def test_all_that_is_clearly_left_of_is_said_to_be(scenes: list[Scene]) -> None:
    said = 0
    for scene in scenes:
        held = triplets(scene)
        boxes = [extent(scene.full[index]) for index in things(scene)]
        for i, a in enumerate(boxes):
            for j, b in enumerate(boxes):
                gap = b[0] - a[2]
                level = min(a[3], b[3]) - max(a[1], b[1])
                lower = min(a[3] - a[1], b[3] - b[1])
                if SLACK < gap < 0.2 * SIZE - SLACK and level > 0.25 * lower + SLACK:
                    assert (i, "left of", j) in held
                    said += 1
    assert said > 100


def test_in_front_of_hides_and_is_nearer(scenes: list[Scene]) -> None:
    found = list(relations(scenes, "in front of"))
    assert len(found) > 50
    for scene, relation in found:
        shared = scene.full[relation.subject] & scene.full[relation.object]
        assert not (shared & scene.masks[relation.object]).any()
        regions = scene.sample.graph.regions
        assert regions[relation.subject].depth < regions[relation.object].depth  # type: ignore[operator]


def test_on_a_thing_rests_on_it(scenes: list[Scene]) -> None:
    found = [pair for pair in relations(scenes, "on") if pair[1].object in things(pair[0])]
    assert len(found) > 50
    for scene, relation in found:
        upper, lower = extent(scene.full[relation.subject]), extent(scene.full[relation.object])
        assert lower[1] - SLACK <= upper[3] <= lower[3], "its lower edge lies within the other"
        assert min(upper[2], lower[2]) - max(upper[0], lower[0]) >= 0.5 * (upper[2] - upper[0])
        assert (grown(scene.full[relation.subject], 2) & scene.full[relation.object]).any()


def test_on_the_ground_ends_on_the_ground(scenes: list[Scene]) -> None:
    for scene, relation in relations(scenes, "on"):
        if relation.object in things(scene):
            continue
        assert relation.object == len(scene.masks) - 2
        _, _, _, bottom = extent(scene.full[relation.subject])
        assert scene.full[relation.object][bottom - 1].all(), "that row is ground all along"


def test_inside_lies_within_the_bowl(scenes: list[Scene]) -> None:
    found = list(relations(scenes, "inside"))
    assert len(found) > 20
    for scene, relation in found:
        assert labels(scene, relation)[1] == "bowl"
        inner, bowl = extent(scene.full[relation.subject]), extent(scene.full[relation.object])
        assert bowl[0] - SLACK <= inner[0]
        assert inner[2] <= bowl[2] + SLACK
        assert inner[3] <= bowl[3]
        shared = scene.full[relation.subject] & scene.full[relation.object]
        assert (shared & scene.masks[relation.object]).any(), "the bowl's wall hides a part of it"


def test_under_a_table_lies_between_its_legs(scenes: list[Scene]) -> None:
    found = [pair for pair in relations(scenes, "under") if labels(*pair)[1] == "table"]
    assert len(found) > 5
    for scene, relation in found:
        inner, table = extent(scene.full[relation.subject]), extent(scene.full[relation.object])
        assert table[0] < inner[0]
        assert inner[2] < table[2]
        assert inner[1] > table[1]
        assert inner[3] <= table[3]


@pytest.mark.parametrize("predicate", ["holding", "pushing", "tied to", "leaning against", "standing on"])
def test_interaction_means_contact(scenes: list[Scene], predicate: str) -> None:
    found = list(relations(scenes, predicate))
    assert len(found) >= 5
    for scene, relation in found:
        assert (grown(scene.full[relation.subject], 4) & scene.full[relation.object]).any()


def test_no_interaction_follows_from_labels_alone(many: list[Scene]) -> None:
    check_that_names_do_not_tell(many, often=5)


@pytest.mark.slow
def test_no_interaction_of_more_scenes_follows_from_labels_alone() -> None:
    check_that_names_do_not_tell([make_scene(seed, SMALL) for seed in range(4000, 4600)], often=10)


def check_that_names_do_not_tell(scenes: list[Scene], often: int) -> None:
    """Each pair of labels that interacts also stands close together without: one cannot tell by the names."""
    together: Counter[tuple[str, str | None, str | None]] = Counter()
    apart: Counter[tuple[str | None, str | None]] = Counter()
    for scene in scenes:
        regions = scene.sample.graph.regions
        held = {
            (r.subject, r.object): r for r in scene.sample.graph.relations.values() if r.category == "interactional"
        }
        for relation in held.values():
            together[(relation.predicate, *labels(scene, relation))] += 1
        for i in things(scene):
            for j in things(scene):
                if i != j and (i, j) not in held:
                    apart[(regions[i].label, regions[j].label)] += 1
    common = {key: count for key, count in together.items() if count >= often}
    assert len(common) >= 8
    for (predicate, subject, object_), count in common.items():
        assert apart[(subject, object_)] >= count / 4, f"{subject} {predicate} {object_} follows from its labels"


def test_one_pair_of_labels_has_many_interactions(many: list[Scene]) -> None:
    """What a robot does with a crate is a matter of pose and place."""
    seen = {
        relation.predicate
        for scene, relation in relations(many, "holding", "pushing", "standing on")
        if labels(scene, relation) == ("robot", "crate")
    }
    assert seen == {"holding", "pushing", "standing on"}


def test_categories(scenes: list[Scene]) -> None:
    category = {
        relation.predicate: relation.category for scene in scenes for relation in scene.sample.graph.relations.values()
    }
    assert category["holding"] == category["pushing"] == category["leaning against"] == "interactional"
    assert category["supporting"] == category["tied to"] == "functional"
    assert category["greeting"] == "social"
    assert category["left of"] == category["inside"] == "spatial"
