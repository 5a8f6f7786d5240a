"""A sum of edits: each goes on meaning its own rows, or the sum cannot be applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.edits import Edit, FieldSet, Verdict, apply_edit
from sgforge.errors import GraphError
from sgforge.graph import Region, Relation, SceneGraph

PAIR = SceneGraph(10, 10, [Region("a"), Region("b")])
CUP = Edit.add(Region("cup"), Relation(0, "holds", 2))
HAT = Edit.add(Region("hat"), Relation(1, "wears", 2))


def after(edit: Edit, graph: SceneGraph = PAIR) -> SceneGraph:
    return apply_edit(graph, edit, "step", may_restore=True).graph


def test_a_sum_of_edits_keeps_what_each_means() -> None:
    assert list(after(CUP + HAT).triplets()) == [("a", "holds", "cup"), ("b", "wears", "hat")]
    assert list(after(HAT + CUP).triplets()) == [("b", "wears", "hat"), ("a", "holds", "cup")]


def test_three_edits_mean_the_same_however_they_are_bracketed() -> None:
    pen = Edit.add(Region("pen"), Region("ink"), Relation(2, "needs", 3)) + Edit.set("region", 0, depth=0.5)
    assert (CUP + HAT) + pen == CUP + (HAT + pen) == Edit.sum([CUP, HAT, pen])
    assert list(after(CUP + (HAT + pen)).triplets())[2] == ("pen", "needs", "ink")
    assert after(CUP + (HAT + pen)).all.regions[0].depth == 0.5


def test_sums_that_mean_different_things_are_not_equal() -> None:
    same_rows = Edit.add(Region("cup"), Region("hat"), Relation(0, "holds", 2), Relation(1, "wears", 2))
    assert same_rows != CUP + HAT
    assert Edit.add(Region("cup")) + Edit.add(Relation(0, "holds", 2)) == CUP


def test_parents_sets_and_verdicts_follow_the_regions_of_their_own_edit() -> None:
    lid = Edit.add(Region("pot"), Region("lid", parent=2)) + Edit()
    pen = Edit(regions=[Region("pen")], sets=[FieldSet("region", 2, "depth", 2.0), FieldSet("region", 0, "depth", 1.0)])
    fly = Edit(regions=[Region("fly")], verdicts=[Verdict("region", 2, "rejected", "tiny")])
    rows = after(lid + pen + fly).all.regions
    assert [(row.label, row.parent, row.depth, row.reason) for row in rows] == [
        ("a", None, 1.0, None),
        ("b", None, None, None),
        ("pot", None, None, None),
        ("lid", 2, None, None),
        ("pen", None, 2.0, None),
        ("fly", None, None, "tiny"),
    ]
    assert after(Edit.add(Region("x")) + lid).all.regions[4].parent == 3


def test_sets_and_verdicts_follow_the_relations_of_their_own_edit() -> None:
    near = Edit(relations=[Relation(0, "near", 1)], sets=[FieldSet("relation", 0, "score", 0.5)])
    above = Edit(relations=[Relation(0, "above", 1)], verdicts=[Verdict("relation", 0, "rejected", "no")])
    rows = after(near + above).all.relations
    assert [(row.predicate, row.score, row.reason) for row in rows] == [("near", 0.5, None), ("above", None, "no")]


def test_what_is_said_of_an_added_duplicate_is_said_of_the_row_it_meets() -> None:
    graph = SceneGraph(10, 10, PAIR.all.regions, [Relation(0, "on", 1), Relation(1, "under", 0)])
    edit = Edit(
        relations=[Relation(0, "on", 1), Relation(0, "near", 1), Relation(0, "near", 1)],
        sets=[FieldSet("relation", 2, "score", 0.25), FieldSet("relation", 3, "score", 0.5)],
        verdicts=[Verdict("relation", 4, "rejected", "far")],
    )
    done = apply_edit(graph, edit, "edit")
    assert [(row.predicate, row.score, row.reason) for row in done.graph.all.relations] == [
        ("on", 0.25, None),
        ("under", None, None),
        ("near", 0.5, "far"),
    ]
    assert apply_edit(graph, done.edit, "edit").graph == done.graph


@pytest.mark.parametrize(
    "edit",
    [
        CUP + HAT + Edit.add(Relation(0, "likes", 2)),
        Edit.add(Relation(0, "likes", 2)) + CUP + HAT,
        CUP + HAT + Edit.set("region", 3, label="tie"),
        CUP + HAT + Edit.reject(3, "tiny", target="region"),
        CUP + Edit.add(Region("hat"), Relation(1, "wears", 3)),
        CUP + HAT + Edit.reject(1, "no"),
        CUP + Edit.add(Region("lid", parent=4), Region("pot")),
        CUP + (HAT + Edit.reject(1, "no")),
    ],
)
def test_a_row_that_cannot_be_known_is_an_error_and_no_other_row(edit: Edit) -> None:
    with pytest.raises(GraphError, match="which it does not add: the graph has"):
        after(edit)


def test_an_edit_may_name_the_rows_of_the_only_other_that_adds_any() -> None:
    total = Edit.add(Region("cup")) + Edit.add(Relation(0, "holds", 2)) + Edit.set("region", 2, label="mug")
    assert list(after(total + Edit.reject(0, "no", target="region")).all.regions[2:]) == [
        Region("mug", made_by="step"),
    ]
    assert list(after(total).triplets()) == [("a", "holds", "mug")]


def test_rows_of_a_sum_are_not_changed_behind_its_back() -> None:
    with pytest.raises(GraphError, match="before they are added up"):
        attrs.evolve(CUP + HAT, regions=())
    assert attrs.evolve(CUP + HAT, faults={"odd": 1}).faults == {"odd": 1}


@pytest.mark.parametrize("other", [None, 3, Region("a"), [Edit()]])
def test_only_edits_add_up(other: Any) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        CUP + other
    with pytest.raises(GraphError, match="a sum of edits has"):
        Edit.sum([CUP, other])


# The oracle: rows have names that no arithmetic touches. ("given", 0) is a row of the graph, (2, 0) the first row that
# the third edit adds. Everything is added, then set, then judged, edit after edit.
Row = tuple[Any, int]


@attrs.frozen
class Meaning:
    """One edit in terms of named rows."""

    regions: Sequence[tuple[Row, Row | None]]  # row, parent
    relations: Sequence[tuple[Row, str, Row]]
    depths: Sequence[tuple[Row, float]]
    scores: Sequence[tuple[Row, float]]
    region_verdicts: Sequence[tuple[Row, str]]
    relation_verdicts: Sequence[tuple[Row, str]]
    adoptions: Sequence[tuple[Row, Row]]  # child, parent

    def as_edit(self, number: int, regions: int, relations: int) -> Edit:
        def region(row: Row) -> int:
            return row[1] if row[0] == "given" else regions + row[1]

        def relation(row: Row) -> int:
            return row[1] if row[0] == "given" else relations + row[1]

        return Edit(
            regions=[
                Region(f"{number}/{row[1]}", parent=None if parent is None else region(parent))
                for row, parent in self.regions
            ],
            relations=[Relation(region(a), predicate, region(b)) for a, predicate, b in self.relations],
            sets=[
                *(FieldSet("region", region(row), "depth", value) for row, value in self.depths),
                *(FieldSet("relation", relation(row), "score", value) for row, value in self.scores),
                *(FieldSet("region", region(child), "parent", region(parent)) for child, parent in self.adoptions),
            ],
            verdicts=[
                *(Verdict("region", region(row), status) for row, status in self.region_verdicts),
                *(Verdict("relation", relation(row), status) for row, status in self.relation_verdicts),
            ],
        )


@st.composite
def meanings(draw: Any, number: int, regions: int, relations: int) -> Meaning:
    own = [(number, place) for place in range(draw(st.integers(0, 2)))]
    rows = [("given", index) for index in range(regions)] + own
    pairs = st.tuples(st.sampled_from(rows), st.sampled_from(["on", "near"]), st.sampled_from(rows))
    links = draw(st.lists(pairs.filter(lambda link: link[0] != link[2]), max_size=3))
    link_rows = [("given", index) for index in range(relations)] + [(number, place) for place in range(len(links))]

    def some(of: Sequence[Row], values: Sequence[Any]) -> Any:
        return draw(st.lists(st.tuples(st.sampled_from(of), st.sampled_from(values)), max_size=2)) if of else []

    statuses = ["kept", "rejected"]
    return Meaning(
        regions=[
            (row, draw(st.none() | st.sampled_from([other for other in rows if other != row] or [None]))) for row in own
        ],
        relations=links,
        depths=some(rows, [0.25, 0.5]),
        scores=some(link_rows, [0.25, 0.5]),
        region_verdicts=some(rows, statuses),
        relation_verdicts=some(link_rows, statuses),
        adoptions=[(child, parent) for child, parent in some(rows, rows) if child != parent],
    )


@st.composite
def cases(draw: Any) -> tuple[SceneGraph, list[Meaning]]:
    regions = draw(st.integers(2, 3))
    links = draw(st.lists(st.sampled_from([(0, "on", 1), (1, "near", 0)]), max_size=2, unique=True))
    statuses = [draw(st.sampled_from(["kept", "rejected"])) for _ in links]
    graph = SceneGraph(
        10,
        10,
        [Region(f"given/{index}") for index in range(regions)],
        [Relation(*link, status=status) for link, status in zip(links, statuses, strict=True)],
    )
    count = draw(st.integers(1, 4))
    return graph, [draw(meanings(number, regions, len(links))) for number in range(count)]


def meant(graph: SceneGraph, edits: Sequence[Meaning], may_restore: bool) -> tuple[list[Any], list[Any]]:
    """Regions as [label, parent label, depth, status], relations as [subject label, predicate, object label, ...]."""

    def label(row: Row) -> str:
        return f"{row[0]}/{row[1]}"

    regions = {row.label: [row.label, None, None, "kept"] for row in graph.all.regions}
    labels = [row.label for row in graph.all.regions]
    links = {
        (labels[row.subject], row.predicate, labels[row.object]): {"score": None, "status": row.status}
        for row in graph.all.relations
    }
    link_of: dict[Row, Any] = {("given", index): links[link] for index, link in enumerate(list(links))}
    for number, edit in enumerate(edits):
        for row, parent in edit.regions:
            regions[label(row)] = [label(row), None if parent is None else label(parent), None, "kept"]
        for place, (subject, predicate, target) in enumerate(edit.relations):
            key = (label(subject), predicate, label(target))
            link = link_of[number, place] = links.setdefault(key, {"score": None, "status": "kept"})
            if may_restore:
                link["status"] = "kept"
    for edit in edits:
        for row, depth in edit.depths:
            regions[label(row)][2] = depth
        for row, score in edit.scores:
            link_of[row]["score"] = score
        for child, parent in edit.adoptions:
            regions[label(child)][1] = label(parent)
    for edit in edits:
        for row, status in edit.region_verdicts:
            if status == "rejected" or may_restore:
                regions[label(row)][3] = status
        for row, status in edit.relation_verdicts:
            if status == "rejected" or may_restore:
                link_of[row]["status"] = status
    return list(regions.values()), [[*key, link["score"], link["status"]] for key, link in links.items()]


def found(graph: SceneGraph) -> tuple[list[Any], list[Any]]:
    rows = graph.all.regions
    return (
        [[row.label, None if row.parent is None else rows[row.parent].label, row.depth, row.status] for row in rows],
        [
            [rows[row.subject].label, row.predicate, rows[row.object].label, row.score, row.status]
            for row in graph.all.relations
        ],
    )


@given(cases(), st.booleans(), st.data())
def test_a_sum_does_what_its_edits_mean(case: tuple[SceneGraph, list[Meaning]], may_restore: bool, data: Any) -> None:
    graph, told = case
    edits = [edit.as_edit(number, len(graph.all.regions), len(graph.all.relations)) for number, edit in enumerate(told)]
    total = Edit.sum(edits)
    done = apply_edit(graph, total, "step", may_restore=may_restore)
    assert found(done.graph) == meant(graph, told, may_restore)
    again = apply_edit(graph, done.edit, "step", may_restore=may_restore)
    assert (again.graph, again.counts) == (done.graph, {})
    cut = data.draw(st.integers(0, len(edits)))
    assert Edit.sum(edits[:cut]) + Edit.sum(edits[cut:]) == total
    assert hash(Edit.sum(edits[:cut]) + Edit.sum(edits[cut:])) == hash(total)
    bracketed = apply_edit(graph, Edit.sum(edits[:cut]) + Edit.sum(edits[cut:]), "step", may_restore=may_restore)
    assert bracketed == done
