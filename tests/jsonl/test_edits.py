"""Edits as text: written and read again, rebased onto graphs whose rows have moved, or told as stale."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgforge.columns.declared import CORE_COLUMNS, Column, fitted_edit
from sgforge.edits import Edit, Value, apply_edit
from sgforge.errors import GraphError
from sgforge.graph import Caption, FileRef, ImageRef, Question, Region, Relation, Sample, SceneGraph, Span
from sgforge.graph.state import graph_state
from sgforge.jsonl.edits import Stale, dump_edit, load_edits, rebase
from sgforge.masks import from_array
from sgforge.packed import pack_edit

CUP, TABLE, SKY = Region(label="cup", box=(1, 1, 5, 5)), Region(label="table", box=(0, 4, 9, 9)), Region(label="sky")
GRAPH = SceneGraph(10, 10, [CUP, TABLE, SKY], [Relation(0, "on", 1), Relation(1, "below", 2)])
EDIT = Edit.sum(
    (
        Edit.add(Region(label="hat", box=(2, 2, 3, 3)), Relation(0, "wears", 3), Relation(3, "near", 2)),
        Edit.reject(1, "wrong", 0.25),
        Edit.set("region", 1, label="desk", descriptions=("of wood",)),
    )
)


def written(tmp_path, *lines):
    path = tmp_path / "edits.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def moved(*regions, relations=()):
    return SceneGraph(10, 10, regions, relations)


def test_what_is_written_is_read_and_does_the_same(tmp_path):
    [line] = load_edits(written(tmp_path, dump_edit("a", GRAPH, EDIT)))
    assert (line.image_id, line.state, line.where) == ("a", graph_state(GRAPH), "edits.jsonl:1")
    again = rebase(line, GRAPH)
    assert apply_edit(GRAPH, again, "s").graph == apply_edit(GRAPH, EDIT, "s").graph


def test_rows_that_have_moved_are_followed(tmp_path):
    [line] = load_edits(written(tmp_path, dump_edit("a", GRAPH, EDIT)))
    other = moved(SKY, TABLE, Region(label="dog"), CUP, relations=[Relation(2, "under", 1), Relation(1, "below", 0)])
    done = apply_edit(other, rebase(line, other), "s").graph
    assert [region.label for region in done.all.regions] == ["sky", "desk", "dog", "cup", "hat"]
    assert [row.triplet for row in done.all.relations] == [
        (2, "under", 1),
        (1, "below", 0),
        (3, "wears", 4),
        (4, "near", 0),
    ]
    assert [row.status for row in done.all.relations] == ["kept", "rejected", "kept", "kept"]


def test_what_is_gone_or_not_clear_is_told(tmp_path):
    [line] = load_edits(written(tmp_path, dump_edit("a", GRAPH, EDIT)))
    gone = rebase(line, moved(CUP, SKY))
    assert isinstance(gone, Stale)
    assert gone.changes == (
        "region 1, table at (0, 4, 9, 9), is gone",
        "relation 1, table at (0, 4, 9, 9) below sky, is gone",
    )
    twice = rebase(line, moved(SKY, CUP, TABLE, CUP, relations=[Relation(2, "below", 0)]))
    assert isinstance(twice, Stale)
    assert twice.changes == ("region 0, cup at (1, 1, 5, 5), is one of 2 that look like it",)


def test_a_verdict_of_another_step_changes_the_state_and_not_the_rows(tmp_path):
    [line] = load_edits(written(tmp_path, dump_edit("a", GRAPH, EDIT)))
    judged = apply_edit(GRAPH, Edit.reject(0, "other"), "filter").graph
    assert graph_state(judged) != line.state
    assert rebase(line, judged) == line.edit


def test_state_is_of_rows_and_not_of_who_made_them():
    remade = attrs.evolve(GRAPH, regions=[attrs.evolve(row, made_by="x", source="y") for row in GRAPH.all.regions])
    assert graph_state(remade) == graph_state(GRAPH)
    assert graph_state(moved(TABLE, CUP)) != graph_state(moved(CUP, TABLE))


def changed(target, **fields):
    """The graph with fields of its first region or relation changed."""
    regions, relations = list(GRAPH.all.regions), list(GRAPH.all.relations)
    rows = regions if target == "region" else relations
    rows[0] = attrs.evolve(rows[0], **fields)
    return Sample("other", moved(*regions, relations=relations), split="val")


@pytest.mark.parametrize(
    ("sample", "is_another"),
    [
        (changed("region", label="mug"), True),
        (changed("region", box=(1, 1, 5, 6)), True),
        (changed("region", status="rejected"), True),
        (changed("relation", subject=2), True),
        (changed("relation", predicate="near"), True),
        (changed("relation", object=2), True),
        (changed("relation", status="rejected"), True),
        (Sample("a", moved(*GRAPH.all.regions, relations=GRAPH.all.relations[:1])), True),
        (changed("region", score=0.5, source="sam", descriptions=["of tin"], made_by="x", judged_by="y"), False),
        (changed("relation", score=0.5, category="spatial", reason="near", made_by="x", judged_by="y"), False),
    ],
)
def test_the_state_of_a_sample_is_of_labels_boxes_triplets_and_status(sample, is_another):
    assert (sample.state != Sample("a", GRAPH).state) is is_another
    assert sample.state == graph_state(sample.graph)


def test_masks_travel(tmp_path):
    array = np.zeros((10, 10), bool)
    array[2:5, 3:7] = True
    edit = Edit.set("region", 2, mask=from_array(array)) + Edit.add(Region(label="x", mask=from_array(~array)))
    [line] = load_edits(written(tmp_path, dump_edit("a", GRAPH, edit)))
    assert apply_edit(GRAPH, rebase(line, GRAPH), "s").graph == apply_edit(GRAPH, edit, "s").graph


def test_an_image_that_is_dropped_is_dropped_in_any_state(tmp_path):
    [line] = load_edits(written(tmp_path, dump_edit("a", GRAPH, Edit.drop("blurred"))))
    for graph in (GRAPH, moved(SKY)):
        assert rebase(line, graph) == Edit.drop("blurred")


VALUES = (
    (Column("image", "toy.half", "f2", (3,)), [1.0, -0.5, 65504.0]),
    (Column("region", "toy.single", "f4"), 0.1),
    (Column("region", "toy.double", "f8", (2, 1)), [[1e-310], [0.1]]),
    (Column("relation", "toy.long", "i8", (2,)), [2**63 - 1, -(2**63)]),
    (Column("region", "toy.byte", "u1"), 255),
    (Column("image", "toy.text", "text"), '日本 \u2028 quoted "x"'),
    (Column("relation", "toy.json", "json"), {"b": [1, None, "x"], "a": 0.1}),
    (Column("region", "toy.map", "f4", (64, 64)), FileRef("ab" * 32, 16384)),
    (CORE_COLUMNS["image", "caption"], Caption("a cup", [Span(2, 5, 0)])),
    (CORE_COLUMNS["image", "questions"], (Question("entity", "Is it?", "yes"), Question("a", "b?", dependencies=(0,)))),
    (CORE_COLUMNS["image", "answers"], {"yes": [0.25, None], "total": 0.5}),
)


def filling(*pairs):
    """An edit with these values, each of the first row of its table."""
    index = {"image": None, "region": 0, "relation": 0}
    values = [Value(column.target, index[column.target], column.name, value) for column, value in pairs]
    return fitted_edit(Edit(values=values), {column.key: column for column, _ in pairs})


def test_values_of_every_type_and_the_image_travel(tmp_path):
    image = ImageRef("files:ab/" + "ab" * 32 + ".png", "ab" * 32, 640, 480)
    edit = attrs.evolve(filling(*VALUES), image=image)
    [line] = load_edits(written(tmp_path, dump_edit("a", GRAPH, edit)))
    assert line.edit == edit
    assert [(one.kind, one.shape) for one in line.edit.values] == [(one.kind, one.shape) for one in edit.values]
    assert rebase(line, GRAPH) == edit
    assert pack_edit(line.edit) == pack_edit(edit)


@given(st.sampled_from(["f2", "f4", "f8"]), st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_travel_to_the_bit(tmp_path_factory, kind, numbers):
    with np.errstate(over="ignore"):
        array = np.array(numbers).astype(kind)
    array[~np.isfinite(array)] = 0
    edit = filling((Column("region", "toy.any", kind, array.shape), array))
    [line] = load_edits(written(tmp_path_factory.mktemp("e"), dump_edit("a", GRAPH, edit)))
    assert line.edit.values[0].value.data == array.tobytes()


def test_values_follow_their_rows_and_those_whose_row_is_gone_are_told(tmp_path):
    edit = filling((Column("region", "toy.byte", "u1"), 7), (Column("image", "toy.text", "text"), "here"))
    [line] = load_edits(written(tmp_path, dump_edit("a", GRAPH, edit)))
    moved_to = rebase(line, moved(SKY, CUP))
    assert [(one.target, one.index) for one in moved_to.values] == [("region", 1), ("image", None)]
    gone = rebase(line, moved(SKY))
    assert isinstance(gone, Stale)
    assert gone.changes == ("region 0, cup at (1, 1, 5, 5), is gone",)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ('[{"target": "region", "index": 0, "column": "toy.a", "kind": "u1", "value": 256}]', "u1 can hold"),
        ('[{"target": "region", "index": 0, "column": "toy.a", "kind": "f9", "value": 2}]', "kind 'f9' is none of"),
        ('[{"target": "image", "index": 0, "column": "toy.a", "value": "x"}]', "no index"),
        ('[{"target": "image", "column": "caption", "value": "x"}]', "takes no text"),
        ('[{"target": "image", "column": "caption", "value": {"text": ""}}]', "non-empty text"),
        ('[{"target": "image", "column": "toy.a", "file": {"sha256": "x", "length": 1}}]', "64 lower-case"),
        ('[{"target": "image", "column": "Bad", "value": "x"}]', "plugin.name"),
        ('[{"target": "image", "value": "x"}]', "no edit: KeyError"),
    ],
)
def test_values_that_are_none_are_told_with_their_line(tmp_path, values, told):
    with pytest.raises(GraphError) as caught:
        load_edits(written(tmp_path, f'{{"image_id": "a", "state": "x", "values": {values}}}'.encode()))
    assert told in str(caught.value)
    assert str(caught.value).startswith("edits.jsonl:1: ")


def test_a_picture_that_no_step_made_is_refused(tmp_path):
    image = '{"uri": "coco:a.jpg", "sha256": "%s", "width": 1, "height": 1}' % ("ab" * 32)
    with pytest.raises(GraphError, match=r"edits\.jsonl:1: a made picture lies in files:"):
        load_edits(written(tmp_path, f'{{"image_id": "a", "state": "x", "image": {image}}}'.encode()))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"image_id": "a"}', "edits.jsonl:1: state must be a text"),
        ('{"image_id": "a", "state": "x", "verdict": []}', "unknown key 'verdict'; known: before,"),
        (
            '{"image_id": "a", "state": "x", "verdicts": [{"target": "word", "index": 0, "status": "kept"}]}',
            "'word' is",
        ),
        (
            '{"image_id": "a", "state": "x", "sets": [{"target": "region", "index": 0}]}',
            "edits.jsonl:1: no edit: KeyErr",
        ),
        ('{"image_id": "a", "state": "x", "before": {"regions": -1}}', "before.regions must be a whole number"),
        ('{"image_id": "a", "state": "x", "relations": [3]}', "edits.jsonl:1: no edit: TypeError"),
        ("[]", "edits.jsonl:1: a line is an object, not list"),
        ("{", "edits.jsonl:1: not valid JSON"),
    ],
)
def test_what_is_no_edit_is_told_with_its_line(text, told, tmp_path):
    with pytest.raises(GraphError) as caught:
        load_edits(written(tmp_path, text.encode()))
    assert told in str(caught.value)


NAMES = st.sampled_from("abc")


@st.composite
def shuffled(draw):
    """A graph of regions that all look different, the same graph in another order with more rows, and an edit."""
    count = draw(st.integers(2, 5))
    regions = [Region(label=draw(NAMES), box=(i, 0, i + 1, 1)) for i in range(count)]
    pairs = draw(st.lists(st.permutations(range(count)).map(lambda p: p[:2]), max_size=3, unique_by=tuple))
    graph = SceneGraph(0, 0, regions, [Relation(s, "on", o) for s, o in pairs])
    order = draw(st.permutations(range(count + 1)))
    place = {old: order[old] for old in range(count)}
    rows = [Region(label="new", box=(99, 0, 100, 1))] * (count + 1)
    for old, new in place.items():
        rows[new] = regions[old]
    other = SceneGraph(0, 0, rows, [Relation(place[s], "on", place[o]) for s, o in reversed(pairs)])
    index = draw(st.integers(0, count - 1))
    edit = Edit.set("region", index, label="set") + Edit.add(Region(label="hat"), Relation(index, "wears", count))
    edit = edit + Edit.set("region", index, parent=(index + draw(st.integers(1, count - 1))) % count, level=2)
    if pairs:
        edit = edit + Edit.reject(draw(st.integers(0, len(pairs) - 1)), "no")
    return graph, other, edit


@settings(max_examples=200, deadline=None)
@given(case=shuffled())
def test_a_rebased_edit_says_of_each_row_what_it_said_before(case, tmp_path_factory):
    graph, other, edit = case
    [line] = load_edits(written(tmp_path_factory.mktemp("e"), dump_edit("a", graph, edit)))

    def told(before, done):
        rows = done.all
        names = [(row.label, row.box) for row in before.all.regions] + ["added"] * 9
        regions = sorted(
            (str(names[i]), row.label, None if row.parent is None else names[row.parent], row.level)
            for i, row in enumerate(rows.regions)
            if names[i][0] != "new"
        )
        relations = sorted((str(names[r.subject]), r.predicate, str(names[r.object]), r.status) for r in rows.relations)
        return regions, relations

    first = apply_edit(graph, edit, "s").graph
    second = apply_edit(other, rebase(line, other), "s").graph
    assert told(graph, first) == told(other, second)
