from __future__ import annotations

import numpy as np
import pytest

from sgforge import Edit, Region, Relation, Sample, SceneGraph, apply_edit
from sgforge.spatial import Geometry, degree_of
from sgforge.testing.scenes import make_scene
from sgforge_baseline.config import GeometryOptions
from sgforge_baseline.geometry import GeometryTeacher, salience


def complete(graph: SceneGraph, **options: object) -> Edit:
    (answer,) = GeometryTeacher(GeometryOptions(**options)).complete([Sample("x", graph)])  # type: ignore[arg-type]
    assert isinstance(answer, Edit)
    return answer


def triplets(edit: Edit) -> list[tuple[int, str, int]]:
    return [relation.triplet for relation in edit.relations]


CUP, TABLE, DOG = Region("cup", (40, 40, 50, 52)), Region("table", (20, 50, 80, 90)), Region("dog", (84, 70, 98, 90))


def test_three_things_by_hand() -> None:
    graph = SceneGraph(100, 100, [CUP, TABLE, DOG])
    edit = complete(graph)
    # The cup stands out most: (0.11 + 0.91) / 2 * 0.99 against the table's (0.49 + 0.72) / 2 * 0.76. It is on the
    # table, and left of the dog to the degree 46² / (46² + 18²), above it to 34² / (34² + 34²).
    assert triplets(edit) == [(0, "on", 1), (0, "left of", 2), (1, "next to", 2)]
    assert [relation.category for relation in edit.relations] == ["spatial"] * 3
    for relation in edit.relations:
        assert relation.score == pytest.approx(degree_of(graph, relation), abs=1e-6)


def test_salience_by_hand() -> None:
    graph = SceneGraph(100, 100, [Region("a", (25, 25, 75, 75)), Region("b", (0, 0, 50, 50), score=0.5)])
    # Both: share 1/4, size 1/2. a: centrality 1. b: centre (25, 25) is half-way to the corner, score 0.5.
    expected = [0.75 * 0.75, 0.5 * 0.5 * 0.75]
    assert salience(graph, Geometry.of(graph), np.array([0, 1])).tolist() == pytest.approx(expected)
    whole = SceneGraph(100, 100, [Region("wall", (0, 0, 100, 100))])
    assert salience(whole, Geometry.of(whole), np.array([0])).tolist() == [0.0]


def test_regions_whose_places_are_known_are_left_alone() -> None:
    known = [Relation(1, "supports", 0), Relation(2, "is to the right of", 0), Relation(1, "watching", 2)]
    edit = complete(SceneGraph(100, 100, [CUP, TABLE, DOG], known))
    # "watching" says nothing of place.
    assert triplets(edit) == [(1, "next to", 2)]


def test_a_rejected_triplet_is_not_proposed_again() -> None:
    for rejected in (Relation(0, "on top of", 1, status="rejected"), Relation(1, "supporting", 0, status="rejected")):
        edit = complete(SceneGraph(100, 100, [CUP, TABLE, DOG], [rejected]))
        assert triplets(edit) == [(0, "over", 1), (0, "left of", 2), (1, "next to", 2)]


def test_parts_are_said_only_of_known_parents() -> None:
    boxes = {"box": (10, 10, 90, 90)}, {"box": (20, 20, 40, 40)}
    apart = SceneGraph(100, 100, [Region("car", **boxes[0]), Region("wheel", **boxes[1])])
    known = SceneGraph(100, 100, [Region("car", **boxes[0]), Region("wheel", **boxes[1], parent=0)])
    assert triplets(complete(apart)) == [(1, "on", 0)]
    assert triplets(complete(known)) == [(1, "part of", 0)]


def test_limits_hold_and_the_same_graph_gives_the_same_answer() -> None:
    for seed in range(6):
        graph = make_scene(seed, 96).sample.graph
        bare = SceneGraph(graph.width, graph.height, graph.all.regions)
        edit = complete(bare, subjects=5, relations_per_subject=3, min_degree=0.6)
        assert edit == complete(bare, subjects=5, relations_per_subject=3, min_degree=0.6)
        subjects = [relation.subject for relation in edit.relations]
        assert len(set(subjects)) <= 5
        assert all(subjects.count(subject) <= 3 for subject in subjects)
        said = set(triplets(edit))
        assert len({frozenset((subject, object_)) for subject, _, object_ in said}) == len(said)
        assert all(relation.score is not None and relation.score >= 0.6 for relation in edit.relations)
        assert not apply_edit(bare, edit, "complete").counts


def test_most_of_what_it_says_of_made_scenes_is_true() -> None:
    """The truth of a scene comes from the made world, not from these definitions."""
    exact = {"left of", "right of", "in front of", "behind", "on", "supporting", "inside", "contains", "under"}
    right = total = 0
    for seed in range(40):
        graph = make_scene(seed, 128).sample.graph
        truth = {(relation.subject, relation.predicate, relation.object) for relation in graph.relations.values()}
        told = {(subject, object_) for subject, _, object_ in truth}
        edit = complete(SceneGraph(graph.width, graph.height, graph.all.regions), predicates=sorted(exact))
        for triplet in triplets(edit):
            if (triplet[0], triplet[2]) in told:
                total += 1
                right += triplet in truth
    assert total > 200
    assert right / total > 0.6


def test_regions_without_geometry_are_counted_and_left_out() -> None:
    edit = complete(SceneGraph(100, 100, [CUP, Region("ghost"), TABLE, Region("mist")]))
    assert edit.faults == {"no-geometry": 2}
    assert {index for relation in edit.relations for index in (relation.subject, relation.object)} == {0, 2}


@pytest.mark.parametrize("regions", [[], [CUP], [Region("ghost")]])
def test_too_few_regions_give_no_relation(regions: list[Region]) -> None:
    assert not complete(SceneGraph(100, 100, regions)).relations


def test_rejected_regions_take_no_part() -> None:
    edit = complete(SceneGraph(100, 100, [CUP, Region("table", TABLE.box, status="rejected"), DOG]))
    assert triplets(edit) == [(0, "left of", 2)]


def test_boxes_without_an_image_size() -> None:
    # The frame is then (20, 40) to (98, 90), in which the table stands out most.
    edit = complete(SceneGraph(0, 0, [CUP, TABLE, DOG]))
    assert triplets(edit) == [(1, "supporting", 0), (1, "next to", 2), (0, "left of", 2)]


def test_two_thousand_regions() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 900, (2000, 2))
    sizes = rng.uniform(5, 100, (2000, 2))
    regions = [
        Region(f"r{i}", (x, y, x + w, y + h)) for i, ((x, y), (w, h)) in enumerate(zip(corners, sizes, strict=True))
    ]
    assert len(complete(SceneGraph(1000, 1000, regions)).relations) == 30


def test_other_predicates_only() -> None:
    edit = complete(SceneGraph(100, 100, [CUP, TABLE, DOG]), predicates=("to the right of",))
    assert triplets(edit) == [(2, "right of", 1), (2, "right of", 0)]


@pytest.mark.parametrize(
    "options", [{"subjects": 0}, {"relations_per_subject": 0}, {"min_degree": 1.5}, {"predicates": ("holding",)}]
)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        GeometryOptions(**options)  # type: ignore[arg-type]
