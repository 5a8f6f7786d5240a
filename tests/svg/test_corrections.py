"""An editor's answer: removals need a reason and permission, additions and sharper texts are read item by item."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.edits import apply_edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.stages import check_role
from sgforge_svg.answers import FAULTS
from sgforge_svg.corrections import read_corrections
from sgforge_svg.view import look_at

GRAPH = SceneGraph(
    100,
    100,
    [
        Region("dog", (0, 0, 50, 50), descriptions=("a dog", "a brown dog")),
        Region("ball", (40, 40, 60, 60), attributes=("blue",)),
        Region("grass", (0, 30, 100, 100)),
    ],
    [Relation(0, "on", 2), Relation(0, "eating", 1, made_by="generate"), Relation(1, "on", 2, made_by="generate")],
)


def read(answer: Any, *, proposed: tuple[int, ...] = (1, 2), max_additions: int = 2) -> Any:
    view = look_at(Sample("d", GRAPH), 10)
    return read_corrections(view, proposed, answer, max_additions=max_additions, max_predicate_words=4)


def answer(**parts: Any) -> dict[str, Any]:
    return {"remove": [], "add": [], "descriptions": [], "attributes": [], **parts}


def items() -> st.SearchStrategy[Any]:
    value = (
        st.integers(-1, 4) | st.sampled_from(["trivial", "on", "spatial", "", "a dog"]) | st.lists(st.text(max_size=3))
    )
    keys = ["relation", "reason", "subject", "object", "predicate", "category", "region", "description", "attributes"]
    return st.dictionaries(st.sampled_from(keys), value) | value


def test_removals_are_rejections_with_their_reason() -> None:
    removal = {"relation": 1, "reason": "wrong-predicate", "explanation": "it only sniffs at it"}
    edit = read(answer(remove=[removal, removal]))
    assert [(v.target, v.index, v.status, v.reason) for v in edit.verdicts] == [
        ("relation", 1, "rejected", "wrong-predicate")
    ]
    assert edit.faults == {"duplicate": 1}


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        ({"relation": 3, "reason": "trivial"}, "unknown-relation"),
        ({"relation": 0, "reason": "trivial"}, "unknown-relation"),
        ({"relation": True, "reason": "trivial"}, "unknown-relation"),
        ({"relation": 1, "reason": "ugly"}, "unknown-reason"),
        ({"relation": 1, "reason": ["trivial"]}, "unknown-reason"),
        ({"relation": 1}, "unknown-reason"),
        (7, "not-an-object"),
    ],
)
def test_a_removal_that_cannot_stand_is_counted(item: Any, fault: str) -> None:
    edit = read(answer(remove=[item, {"relation": 2, "reason": "trivial"}]))
    assert [v.index for v in edit.verdicts] == [2]
    assert edit.faults == {fault: 1}


def test_additions_stop_at_the_limit() -> None:
    rows = [
        {"subject": 1, "predicate": word, "object": 2, "category": "interactional"}
        for word in ("chasing", "sniffing", "watching")
    ]
    edit = read(answer(add=[{"subject": 9, **{k: v for k, v in rows[0].items() if k != "subject"}}, *rows]))
    assert [r.triplet for r in edit.relations] == [(0, "chasing", 1), (0, "sniffing", 1)]
    assert edit.faults == {"unknown-region": 1, "too-many-additions": 1}


def test_sharper_texts_lead_and_attributes_are_replaced() -> None:
    edit = read(
        answer(
            descriptions=[
                {"region": 1, "description": "a brown dog"},
                {"region": 1, "description": "some dog"},
                {"region": 2, "description": " "},
            ],
            attributes=[{"region": 2, "attributes": ["red", "red", "round"]}, {"region": 3, "attributes": []}],
        )
    )
    after = apply_edit(GRAPH, edit, "edit", may_restore=True).graph
    assert after.all.regions[0].descriptions == ("a brown dog", "a dog")
    assert after.all.regions[1].attributes == ("red", "round")
    assert after.all.regions[2].attributes == ()
    assert edit.faults == {"empty-text": 1, "duplicate": 1}


def test_what_is_removed_may_be_said_better_but_not_the_same_again() -> None:
    def fixed(predicate: str) -> Any:
        addition = {"subject": 2, "predicate": predicate, "object": 3, "category": "spatial"}
        return read(answer(remove=[{"relation": 2, "reason": "wrong-predicate"}], add=[addition]))

    assert [r.predicate for r in fixed("resting on").relations] == ["resting on"]
    assert (fixed("on").relations, fixed("on").faults) == ((), {"repeats-known": 1})
    kept = read(answer(add=[{"subject": 2, "predicate": "resting on", "object": 3, "category": "spatial"}]))
    assert (kept.relations, kept.faults) == ((), {"repeats-known": 1})


@given(
    st.fixed_dictionaries(dict.fromkeys(("remove", "add", "descriptions", "attributes"), st.lists(items(), max_size=4)))
)
def test_whatever_an_editor_writes_the_edit_applies_and_touches_only_what_it_was_given(reply: Any) -> None:
    view = look_at(Sample("d", GRAPH), 2)  # the ball, index 1, is not shown
    edit = read_corrections(view, (1, 2), reply, max_additions=3, max_predicate_words=4)
    assert check_role("edit", edit, GRAPH) is None
    assert set(edit.faults) <= set(FAULTS)
    after = apply_edit(GRAPH, edit, "edit", may_restore=True).graph
    assert after.all.regions[1] == GRAPH.all.regions[1]
    assert after.all.relations[0] == GRAPH.all.relations[0]
    assert len(after.all.regions) == 3


def test_an_answer_of_the_wrong_shape_changes_nothing() -> None:
    assert read(None).is_empty
    assert read({"remove": "all"}).faults == {"not-an-object": 1}
