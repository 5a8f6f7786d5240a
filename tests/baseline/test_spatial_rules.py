from __future__ import annotations

import numpy as np
import pytest

from sgforge import Edit, Region, Relation, Sample, SceneGraph, Verdict, apply_edit
from sgforge.masks import from_array
from sgforge_baseline.config import SpatialRulesOptions
from sgforge_baseline.spatial_rules import REASONS, SpatialRulesFilter

LEFT, RIGHT, LOW = (0, 0, 10, 10), (20, 0, 30, 10), (0, 40, 10, 50)


def judge(regions: list[Region], relations: list[Relation], **options: object) -> Edit:
    graph = SceneGraph(0, 0, regions, relations)
    (answer,) = SpatialRulesFilter(SpatialRulesOptions(**options)).filter([Sample("x", graph)])  # type: ignore[arg-type]
    assert isinstance(answer, Edit)
    return answer


def boxed(*boxes: tuple[float, ...], depth: tuple[float, ...] | None = None) -> list[Region]:
    depths = depth or (None,) * len(boxes)
    return [Region(f"r{i}", box, depth=d) for i, (box, d) in enumerate(zip(boxes, depths, strict=True))]


def keep(index: int, degree: float) -> Verdict:
    return Verdict("relation", index, "kept", None, degree)


def reject(index: int, reason: str, degree: float | None) -> Verdict:
    assert reason in REASONS
    return Verdict("relation", index, "rejected", reason, degree)


def test_boxes_contradict() -> None:
    edit = judge(boxed(LEFT, RIGHT), [Relation(0, "to the left of", 1), Relation(1, "above", 0)])
    assert edit.verdicts == (keep(0, 1.0), reject(1, "boxes-contradict", 0.0))


def test_depth_contradicts() -> None:
    meeting = boxed(LEFT, (5, 5, 15, 15), depth=(1.0, 2.0))
    edit = judge(meeting, [Relation(0, "in front of", 1), Relation(0, "behind", 1)])
    assert edit.verdicts == (keep(0, 1.0), reject(1, "depth-contradicts", 0.0))
    # Nearer indeed, but a whole size aside.
    edit = judge(boxed(LEFT, RIGHT, depth=(1.0, 2.0)), [Relation(0, "in front of", 1)])
    assert edit.verdicts == (reject(0, "boxes-contradict", 0.0),)


def test_masks_contradict_what_boxes_allow() -> None:
    frame = np.zeros((40, 40), bool)
    post, corner = frame.copy(), frame.copy()
    post[:, :10] = True
    post[30:, :] = True
    corner[2:12, 28:38] = True
    regions = [Region("corner", mask=from_array(corner)), Region("post", mask=from_array(post))]
    edit = judge(regions, [Relation(0, "inside", 1)])
    assert edit.verdicts == (reject(0, "masks-contradict", 0.0),)


def test_duplicates_count_synonyms_and_the_first_stands() -> None:
    relations = [Relation(0, "left of", 1), Relation(0, "is to the left of", 1), Relation(0, "left of", 1)]
    edit = judge(boxed(LEFT, RIGHT), relations)
    assert edit.verdicts == (keep(0, 1.0), reject(1, "duplicate", 1.0), reject(2, "duplicate", 1.0))
    assert judge(boxed(LEFT, RIGHT), relations, duplicates=False).verdicts == tuple(keep(i, 1.0) for i in range(3))


def test_an_inverse_is_no_duplicate() -> None:
    edit = judge(boxed(LEFT, RIGHT), [Relation(0, "left of", 1), Relation(1, "right of", 0)])
    assert edit.verdicts == (keep(0, 1.0), keep(1, 1.0))


def test_of_a_contradictory_pair_the_firmer_stands() -> None:
    # No depth tells these apart, so only what is said counts: the score, then the order.
    relations = [Relation(0, "behind", 1, score=0.4), Relation(1, "behind", 0, score=0.6), Relation(0, "near", 1)]
    edit = judge(boxed(LEFT, (12, 0, 22, 10)), relations)
    # Boxes 10 wide with a gap of 2: near to the degree 0.8.
    assert edit.verdicts == (reject(0, "contradictory-pair", None), keep(2, pytest.approx(0.8)))
    assert edit.faults == {"no-depth": 2}
    # Half of the shift, and both over the limit: the overlap in x is 0.5.
    relations = [Relation(0, "on", 1), Relation(1, "on", 0)]
    edit = judge([Region("a"), Region("b")], relations)
    assert edit.verdicts == (reject(1, "contradictory-pair", None),)
    assert judge([Region("a"), Region("b")], relations, contradictions=False).verdicts == ()


def test_a_measured_relation_outweighs_one_that_is_not() -> None:
    relations = [Relation(0, "far from", 1, score=1.0), Relation(1, "next to", 0, score=0.1)]
    edit = judge(boxed(LEFT, (26, 0, 36, 10)), relations, min_degree=0.0)
    # Gap 16 over size 10: far from to the degree 0.3; next to to 0.
    assert edit.verdicts == (keep(0, pytest.approx(0.3)), reject(1, "contradictory-pair", 0.0))


def test_of_other_predicates_only_duplicates_are_rejected() -> None:
    relations = [Relation(0, "holding", 1), Relation(0, "holding", 1), Relation(0, "wearing", 1)]
    edit = judge(boxed(LEFT, RIGHT), relations)
    assert edit.verdicts == (reject(1, "duplicate", None),)
    assert not edit.faults
    assert judge(boxed(LEFT, RIGHT), relations, duplicates=False).is_empty


def test_what_only_depth_speaks_against_is_named_so() -> None:
    # A quarter of the inner box is within the outer one: 0.25 by boxes; nearer by half of the larger depth: 0.3 of it.
    boxes = boxed((15, 0, 25, 10), (-80, -80, 17.5, 20), depth=(1.0, 2.0))
    edit = judge(boxes, [Relation(0, "inside", 1)])
    assert edit.verdicts == (reject(0, "depth-contradicts", pytest.approx(0.075)),)
    assert judge(boxed((15, 0, 25, 10), (-80, -80, 17.5, 20)), [Relation(0, "inside", 1)]).verdicts[0].status == "kept"


def test_what_cannot_be_told_is_counted_and_not_judged() -> None:
    regions = [*boxed(LEFT, RIGHT), Region("ghost")]
    relations = [Relation(0, "left of", 2), Relation(0, "behind", 1), Relation(2, "on", 1), Relation(0, "left of", 1)]
    edit = judge(regions, relations)
    assert edit.verdicts == (keep(3, 1.0),)
    assert edit.faults == {"no-geometry": 2, "no-depth": 1}


def test_rejected_rows_are_neither_judged_nor_compared_with() -> None:
    rejected = Relation(0, "left of", 1, status="rejected", reason="looked")
    edit = judge(boxed(LEFT, RIGHT), [rejected, Relation(0, "left of", 1)])
    assert edit.verdicts == (keep(1, 1.0),)


def test_empty_graphs() -> None:
    assert judge([], []) == Edit()
    assert judge(boxed(LEFT, LOW), []) == Edit()


def test_two_thousand_regions_with_a_relation_each() -> None:
    rng = np.random.default_rng(0)
    corners, sizes = rng.uniform(0, 900, (2000, 2)), rng.uniform(5, 100, (2000, 2))
    regions = [
        Region(f"r{i}", (x, y, x + w, y + h)) for i, ((x, y), (w, h)) in enumerate(zip(corners, sizes, strict=True))
    ]
    relations = [Relation(i, "left of", (i * 7 + 1) % 2000) for i in range(2000) if (i * 7 + 1) % 2000 != i]
    edit = judge(regions, relations)
    assert len(edit.verdicts) == len(relations)
    after = apply_edit(SceneGraph(0, 0, regions, relations), edit, "filter").graph
    assert 0 < len(after.relations) < len(relations)
