"""Applying an edit: rows are appended and stamped, duplicates counted, verdicts kept to the roles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.edits import REGION_FIELDS, RELATION_FIELDS, Edit, FieldSet, Verdict, apply_edit
from sgforge.errors import GraphError
from sgforge.graph import Mask, Region, Relation, SceneGraph
from sgforge.stages import check_role

BASE = SceneGraph(
    100,
    100,
    [Region("man", (0, 0, 10, 20)), Region("cup", (4, 8, 6, 10)), Region("table", (0, 10, 30, 20))],
    [Relation(0, "holding", 1), Relation(1, "on", 2, status="rejected", reason="no-contact", judged_by="rules")],
)


def test_added_rows_come_last_and_name_their_step() -> None:
    after = apply_edit(BASE, Edit.add(Region("lamp"), Relation(3, "above", 2)), "complete").graph
    assert after.all.regions[:3] == BASE.all.regions
    assert after.all.regions[3] == Region("lamp", made_by="complete")
    assert after.all.relations[2] == Relation(3, "above", 2, made_by="complete")


def test_an_existing_triplet_makes_no_row_and_is_counted_by_what_it_met() -> None:
    added = Edit.add(Relation(0, "holding", 1, score=0.5), Relation(1, "on", 2), Relation(0, "near", 2)) + Edit.add(
        Relation(0, "near", 2)
    )
    done = apply_edit(BASE, added, "complete")
    assert [row.triplet for row in done.graph.all.relations[2:]] == [(0, "near", 2)]
    assert done.counts == {"duplicate": 2, "stays-rejected": 1}
    assert done.graph.all.relations[0].score is None


def test_only_an_editor_restores_a_rejected_triplet() -> None:
    edit = Edit.add(Relation(1, "on", 2))
    row = apply_edit(BASE, edit, "edit", may_restore=True).graph.all.relations[1]
    assert (row.status, row.reason, row.judged_by) == ("kept", None, "edit")
    refused = apply_edit(BASE, Edit.keep(1), "filter")
    assert refused.graph == BASE
    assert refused.counts == {"stays-rejected": 1}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_equal_source_rows_the_kept_one_is_met_by_an_added_triplet(order: tuple[int, int]) -> None:
    rows = [Relation(0, "on", 1), Relation(0, "on", 1, status="rejected")]
    graph = SceneGraph(9, 9, [Region(), Region()], [rows[index] for index in order])
    for may_restore in (False, True):
        done = apply_edit(graph, Edit.add(Relation(0, "on", 1)), "step", may_restore=may_restore)
        assert (done.graph, done.counts) == (graph, {"duplicate": 1})


def test_a_triplet_added_twice_is_a_duplicate_of_itself() -> None:
    graph = SceneGraph(9, 9, [Region(), Region()], [Relation(0, "on", 1, status="rejected")])
    done = apply_edit(graph, Edit.add(Relation(0, "near", 1), Relation(0, "near", 1)), "step")
    assert done.counts == {"duplicate": 1}
    assert done.edit.relations == (Relation(0, "near", 1, made_by="step"),)


def test_a_verdict_on_a_triplet_that_is_added_again_has_the_last_word() -> None:
    edit = Edit.add(Relation(1, "on", 2)) + Edit.reject(1, "on-second-thought")
    done = apply_edit(BASE, edit, "edit", may_restore=True)
    assert (done.graph.all.relations[1].status, done.graph.all.relations[1].reason) == ("rejected", "on-second-thought")
    assert apply_edit(BASE, done.edit, "edit", may_restore=True).graph == done.graph


def test_any_step_records_that_a_kept_row_passed() -> None:
    row = apply_edit(BASE, Edit.keep(0, "held", 0.75), "filter").graph.all.relations[0]
    assert row == Relation(0, "holding", 1, reason="held", degree=0.75, judged_by="filter")


def test_the_first_reason_to_drop_an_image_stands() -> None:
    assert (Edit.drop("blurred") + Edit.drop("dark") + Edit()).dropped == "blurred"


def test_edits_add_up_part_by_part_with_their_faults() -> None:
    first = Edit.add(Region("a")) + Edit(faults={"unknown": 2, "empty": 1})
    second = Edit.reject(0, "tiny") + Edit(faults={"unknown": 3})
    total = Edit.sum([first, second, Edit.keep(0)])
    assert total.regions == (Region("a"),)
    assert total.verdicts == (Verdict("relation", 0, "rejected", "tiny"), Verdict("relation", 0, "kept"))
    assert total.faults == {"unknown": 5, "empty": 1}


@pytest.mark.parametrize("row", ["cup", 3, None, (0, "on", 1), Edit()])
def test_an_edit_adds_regions_and_relations_alone(row: object) -> None:
    with pytest.raises(GraphError, match="an edit adds regions and relations, not "):
        Edit.add(Region("a"), row)  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [True, 0.0])
def test_an_index_is_a_whole_number(index: object) -> None:
    with pytest.raises(GraphError, match=f"relation {index}: an index must be an int"):
        apply_edit(BASE, Edit.reject(index, "x"), "filter")  # type: ignore[arg-type]


def test_a_verdict_records_reason_degree_and_judge_and_leaves_the_score() -> None:
    graph = SceneGraph(9, 9, [Region(), Region()], [Relation(0, "on", 1, score=0.75)])
    row = apply_edit(graph, Edit.reject(0, "no-contact", 0.25), "rules").graph.all.relations[0]
    assert row == Relation(
        0, "on", 1, score=0.75, status="rejected", reason="no-contact", degree=0.25, judged_by="rules"
    )


def test_sets_change_one_field_and_are_validated() -> None:
    graph = apply_edit(BASE, Edit.set("region", 1, label="mug", depth=0.5), "edit").graph
    assert (graph.all.regions[1].label, graph.all.regions[1].depth) == ("mug", 0.5)
    with pytest.raises(GraphError, match="status"):
        Edit.set("relation", 0, status="kept")
    with pytest.raises(GraphError, match="x0 < x1"):
        apply_edit(BASE, Edit.set("region", 1, box=(3, 3, 1, 4)), "edit")


@pytest.mark.parametrize(
    "edit", [Edit.reject(2, "x"), Edit.reject(3, "x", target="region"), Edit.set("region", 9, label="a")]
)
def test_an_edit_of_a_row_that_is_not_there_is_an_error(edit: Edit) -> None:
    with pytest.raises(GraphError, match="does not exist"):
        apply_edit(BASE, edit, "filter")


TRIPLETS = st.tuples(st.integers(0, 2), st.sampled_from(["on", "near"]), st.integers(0, 2)).filter(
    lambda t: t[0] != t[2]
)
EDITS = st.builds(
    lambda added, verdicts: Edit(relations=[Relation(*t) for t in added], verdicts=verdicts),
    st.lists(TRIPLETS, max_size=5),
    st.lists(
        st.builds(Verdict, st.just("relation"), st.integers(0, 1), st.sampled_from(["kept", "rejected"]), st.none()),
        max_size=3,
    ),
)


@given(st.lists(EDITS, max_size=4), st.booleans())
def test_what_took_effect_can_be_applied_again_with_the_same_result(edits: list[Edit], may_restore: bool) -> None:
    graph = BASE
    for edit in edits:
        done = apply_edit(graph, edit, "step", may_restore=may_restore)
        again = apply_edit(graph, done.edit, "step", may_restore=may_restore)
        assert again.graph == done.graph
        assert again.counts == {}
        assert done.graph.all.regions == graph.all.regions
        assert [r.triplet for r in done.graph.all.relations[: len(graph.all.relations)]] == [
            r.triplet for r in graph.all.relations
        ]
        graph = done.graph
    added = [row.triplet for row in graph.all.relations[2:]]
    assert len(added) == len(set(added))


@pytest.mark.parametrize(
    ("verb", "edit", "complaint"),
    [
        ("segment", Edit.add(Region("a")), None),
        ("segment", Edit.add(Relation(0, "on", 1)), "add relations"),
        ("segment", Edit.reject(0, "x"), "judge relations"),
        ("complete", Edit.add(Relation(0, "on", 1)) + Edit.set("region", 0, descriptions=("a",)), None),
        ("complete", Edit.set("region", 0, label="a"), "set label"),
        ("complete", Edit.add(Region("a")), "add regions"),
        ("filter", Edit.reject(0, "x") + Edit.reject(0, "x", target="region"), None),
        ("filter", Edit.add(Relation(0, "on", 1)), "add relations"),
        ("generate", Edit.add(Relation(0, "on", 1)) + Edit.set("region", 0, label="a"), None),
        ("generate", Edit.set("region", 0, box=(0, 0, 1, 1)), "set box"),
        ("edit", Edit.add(Region("a"), Relation(0, "on", 1)) + Edit.reject(0, "x"), None),
        ("filter", Edit.drop("blurred"), None),
    ],
)
def test_a_step_may_emit_only_what_its_role_allows(verb: str, edit: Edit, complaint: str | None) -> None:
    said = check_role(verb, edit, BASE)
    assert said is None if complaint is None else complaint in (said or "")


PARTS = {
    "regions": Edit.add(Region("a")),
    "relations": Edit.add(Relation(0, "on", 1)),
    "region verdicts": Edit.reject(0, "x", target="region"),
    "relation verdicts": Edit.reject(0, "x"),
    **{f"region {name}": Edit.set("region", 0, **{name: None}) for name in sorted(REGION_FIELDS)},
    **{f"relation {name}": Edit.set("relation", 0, **{name: None}) for name in sorted(RELATION_FIELDS)},
}
ALLOWED = {
    "segment": {"regions", "region verdicts", *(f"region {name}" for name in ("depth", "level", "mask", "parent"))},
    "complete": {"relations", "region descriptions", "region attributes"},
    "filter": {"region verdicts", "relation verdicts"},
    "generate": {"relations", "region label", "region score", "relation score"},
    "edit": set(PARTS),
}


@pytest.mark.parametrize("verb", ALLOWED)
def test_each_part_of_an_edit_is_for_the_roles_that_the_contract_names(verb: str) -> None:
    assert {name for name, edit in PARTS.items() if check_role(verb, edit, BASE) is None} == ALLOWED[verb]


def test_a_student_may_find_regions_where_there_are_none() -> None:
    found = Edit.add(Region("a"), Region("b"), Relation(0, "on", 1))
    assert check_role("generate", found, SceneGraph(4, 4)) is None
    assert check_role("generate", found, BASE) == "a generate step may not add regions to others"
    rejected = SceneGraph(4, 4, [Region("a", status="rejected", reason="x")])
    assert check_role("generate", Edit.add(Region("b")), rejected) is None


def test_a_segmenter_fills_blanks_and_replaces_nothing() -> None:
    mask = Mask(4, 4, 0, 0, 1, 1, b"01")
    graph = SceneGraph(4, 4, [Region("a"), Region("b", mask=mask, depth=1.0)])
    fills = Edit.set("region", 0, mask=mask, depth=2.0)
    assert check_role("segment", fills, graph) is None
    for edit in (Edit.set("region", 1, mask=mask), Edit.set("region", 1, depth=2.0)):
        assert "of regions that have one" in (check_role("segment", edit, graph) or "")
    tree = Edit.set("region", 0, parent=1, level=1)
    assert check_role("segment", tree, graph) is None
    nested = apply_edit(graph, tree, "segment").graph
    assert [(row.parent, row.level) for row in nested.all.regions] == [(1, 1), (None, None)]
    for other in (Edit.set("region", 0, parent=None), Edit.set("region", 0, level=2)):
        assert "of regions that have one" in (check_role("segment", other, nested) or "")
    for refused in (Edit.set("region", 0, box=(0, 0, 1, 1)), Edit.set("region", 0, score=0.5)):
        assert "may not set" in (check_role("segment", refused, graph) or "")
    own = Edit(
        regions=[Region("c")], sets=[FieldSet("region", 2, "box", (0, 0, 1, 1)), FieldSet("region", 2, "score", 1)]
    )
    assert check_role("segment", own, graph) is None
    for index in (2, -1):
        assert check_role("segment", Edit.set("region", index, depth=2.0), graph) is not None
    assert check_role("filter", fills, graph) == "a filter step may not set mask of regions"
