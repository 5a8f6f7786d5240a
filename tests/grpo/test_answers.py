"""What is read of a completion: only the bad item is left out, and every fault has its code."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

import pytest
from grpo.graphs import said
from hypothesis import given
from hypothesis import strategies as st

from sgforge.graph import Region, Relation, SceneGraph
from sgforge_grpo.reading.answer import (
    Answer,
    Frame,
    answer_of_graph,
    label_of,
    read_answer,
    read_outcome,
)
from sgforge_grpo.reading.columns import AnswerColumns
from sgforge_grpo.reading.completion import is_tagged, json_text
from sgforge_grpo.reading.graphs import read_graphs
from sgforge_grpo.reading.texts import read_answers

FRAME = Frame(width=200.0, height=100.0)
CUP, TABLE = ("cup.1", (100, 100, 300, 500)), ("table.2", (0, 400, 1000, 1000))
ON = ("cup.1", "on", "table.2")
TWICE = [CUP, ("cup.7", CUP[1]), TABLE]


class Told(NamedTuple):
    """What both forms of answers say."""

    names: list
    boxes: list
    relations: list
    faults: list
    items: int
    text: str | None
    rows: tuple | None


def told(answer: Answer) -> Told:
    rows = None if answer.regions is None else (list(answer.regions), list(answer.rows or ()))
    boxes = answer.corners.tolist()
    return Told(list(answer.names), boxes, answer.relations, answer.faults, answer.items, answer.text, rows)


def told_of(columns: AnswerColumns) -> list[Told]:
    regions, relations = 0, 0
    found = []
    for place, (nodes, edges) in enumerate(zip(columns.region_counts, columns.relation_counts, strict=True)):
        own, of = slice(regions, regions + nodes), slice(relations, relations + edges)
        rows = columns.rows[place]
        one = Told(
            names=[columns.labels[code] for code in columns.names[own]],
            boxes=columns.corners[own].tolist(),
            relations=[
                (subject, columns.predicates[code], object_)
                for subject, code, object_ in zip(
                    columns.subjects[of].tolist(), columns.said[of], columns.objects[of].tolist(), strict=True
                )
            ],
            faults=list(columns.faults[place]),
            items=columns.items[place],
            text=columns.texts[place],
            rows=rows and (list(rows[0]), list(rows[1])),
        )
        found.append(one)
        regions, relations = regions + nodes, relations + edges
    assert (regions, relations) == (len(columns.names), len(columns.said))
    return found


def faults(text: str) -> list[str]:
    return read_answer(text, FRAME).faults


def test_a_whole_answer():
    answer = read_answer(said([CUP, TABLE], [ON]), FRAME)
    assert answer.names == ["cup", "table"]
    assert answer.boxes == [(20.0, 10.0, 60.0, 50.0), (0.0, 40.0, 200.0, 100.0)]
    assert answer.relations == [(0, "on", 1)]
    assert (answer.faults, answer.items) == ([], 3)
    assert is_tagged(said([CUP, TABLE], [ON]))


@pytest.mark.parametrize(
    ("things", "facts", "expected", "names", "count"),
    [
        ([("cup.1", (math.nan, 0, 9, 9)), TABLE], [ON], ["box-not-finite", "unknown-id"], ["table"], 0),
        ([("cup.1", (0, 0, math.inf, 9)), TABLE], [], ["box-not-finite"], ["table"], 0),
        ([("cup.1", (0, 0, 10**400, 9)), TABLE], [], ["box-not-finite"], ["table"], 0),
        ([("cup.1", (300, 500, 100, 100)), TABLE], [ON], ["box-turned"], ["cup", "table"], 1),
        ([("cup.1", (1200, 0, 1500, 9)), TABLE], [ON], ["box-empty", "unknown-id"], ["table"], 0),
        ([("cup.1", (5, 5, 5, 9)), TABLE], [], ["box-empty"], ["table"], 0),
        ([("cup.1", (True, 0, 9, 9)), TABLE], [], ["no-box"], ["table"], 0),
        ([("cup.1", (0, 0, 9)), TABLE], [], ["no-box"], ["table"], 0),
        ([("cup.1", ["0", 0, 9, 9]), TABLE], [], ["no-box"], ["table"], 0),
        ([("cup.1", "abcd"), TABLE], [], ["no-box"], ["table"], 0),
        ([("  ", CUP[1]), TABLE], [], ["no-id"], ["table"], 0),
        ([CUP, ("cup.1", (0, 0, 9, 9)), TABLE], [ON], ["duplicate-id"], ["cup", "table"], 1),
        ([CUP, ("Cup.7", CUP[1])], [("cup.7", "on", "cup.1")], ["duplicate-object", "unknown-id"], ["cup"], 0),
        (TWICE, [ON, ("cup.7", "On", "table.2")], ["duplicate-object", "duplicate-relation"], ["cup", "table"], 1),
        ([CUP, TABLE], [ON, ON], ["duplicate-relation"], ["cup", "table"], 1),
        ([CUP, TABLE], [ON, ("cup.1", "near", "table.2")], [], ["cup", "table"], 2),
        ([CUP, TABLE], [("cup.1", "on", "cup.1")], ["self-relation"], ["cup", "table"], 0),
        ([CUP, TABLE], [("cup.1", "on", "sky.9")], ["unknown-id"], ["cup", "table"], 0),
        ([CUP, TABLE], [("cup.1", 7, "table.2"), ("cup.1", " ", "table.2")], ["no-predicate"] * 2, ["cup", "table"], 0),
        ([CUP, TABLE], [(None, "on", ["table.2"])], ["unknown-id"], ["cup", "table"], 0),
    ],
)  # fmt: skip
def test_only_the_bad_thing_is_left_out(things, facts, expected, names, count):
    text = said(things, facts)
    for answer in (told(read_answer(text, FRAME)), *told_of(read_answers([text], [FRAME]))):
        assert sorted(answer.faults) == sorted(expected)
        assert answer.names == names
        assert len(answer.relations) == count


WHOLE = said([CUP, TABLE], [ON], tags=False)


@pytest.mark.parametrize(
    ("text", "expected", "count"),
    [
        (WHOLE, [], 1),
        (f"```json\n{WHOLE}\n```", [], 1),
        (f"Here it is: <answer>{WHOLE}</answer> Enjoy.", [], 1),
        (f"<answer>{WHOLE}", [], 1),
        (f"<think>first <answer>nothing</answer></think><answer>{WHOLE}</answer>", [], 1),
        (f"Sure! {WHOLE} That is all.", [], 1),
        (WHOLE.replace("]}]", "],}]"), ["unreadable"], 1),
        (WHOLE[: WHOLE.index("relationships")], ["unreadable", "no-relationships"], 0),
        (WHOLE[:-3], ["unreadable"], 0),
        ("", ["unreadable"], 0),
        ("no graph at all", ["unreadable"], 0),
        ("[1, 2]", ["unreadable"], 0),
        ("null", ["unreadable"], 0),
        ('{"objects": null, "relationships": {}}', ["no-objects", "no-relationships"], 0),
        ('{"objects": ["cup", 3], "relationships": [null]}', ["no-object", "no-object", "no-relation"], 0),
        ("[" * 100_000, ["unreadable"], 0),
        ('{"objects": ' + "[" * 100_000, ["unreadable"], 0),
        ("x" * 1_000_001, ["too-long"], 0),
    ],
)
def test_texts_as_models_write_them(text, expected, count):
    answer = read_answer(text, FRAME)
    assert answer.faults == expected
    assert len(answer.relations) == count


def test_a_broken_object_leaves_what_comes_behind_it():
    things = '{"id": "cup.1", "bbox": [1, 2, 3, 4]}, {"id" "x"}, {"id": "table.2", "bbox": [5, 6, 7, 8]}'
    text = f'{{"objects": [{things}], "relationships": []}}'
    answer = read_answer(text, FRAME)
    assert answer.names == ["cup", "table"]
    assert answer.faults == ["unreadable", "no-object"]


def test_labels_stay_as_they_were_written():
    outcome = read_outcome(
        said([("Sky-other_merged.12", (0, 0, 9, 9)), TABLE], [("Sky-other_merged.12", "Over The", "table.2")]),
        FRAME,
        0.5,
    )
    assert [region.label for region in outcome.graph.regions.values()] == ["Sky-other_merged", "table"]
    (relation,) = outcome.graph.relations.values()
    assert (relation.predicate, relation.score, outcome.faults) == ("Over The", 0.5, ())


@pytest.mark.parametrize(
    ("id_", "label"), [("cup.1", "cup"), ("dr. who.2", "dr. who"), ("cup", "cup"), (".5", ".5"), ("a.b", "a.b")]
)
def test_the_label_of_an_id(id_, label):
    assert label_of(id_) == label


def test_what_is_thought_is_no_answer():
    assert json_text('<think>{"a": 1}</think> {"b": 2}') == '{"b": 2}'


tags = st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "```json", "`", "{}", " <b> "]))


@given(tags, tags)
def test_what_stands_behind_an_answer_changes_nothing(before, within):
    # Where nothing else may be a tag, the answer is found in another way.
    text = "".join([*before, "<answer>", *within, "</answer>"])
    assert json_text(text) == json_text(text + "<").removesuffix("<").strip()


@pytest.mark.parametrize("status", ["kept", "rejected"])
def test_a_graph_says_its_kept_rows(status):
    regions = [Region("Cup ", (0, 0, 4, 4), status=status), Region("Table", (0, 2, 9, 9)), Region(None, (1, 1, 2, 2))]
    relations = [Relation(1, " On", 2), Relation(0, "on", 1), Relation(1, "on", 2, status="rejected")]
    answer = answer_of_graph(SceneGraph(10, 10, regions, relations), ("x",), "said")
    gone = status == "rejected"
    assert list(answer.names) == ["cup", "table", ""][gone:]
    assert list(answer.labels) == ["Cup", "Table", ""][gone:]
    assert answer.relations == ([(0, "on", 1)] if gone else [(1, "on", 2), (0, "on", 1)])
    assert list(answer.predicates) == (["On"] if gone else ["On", "on"])
    assert (list(answer.regions), list(answer.rows)) == (([-1, 0, 1], [0, -1, -1]) if gone else ([0, 1, 2], [0, 1, -1]))
    assert (answer.faults, answer.items, answer.text) == (["x"], 4 if gone else 6, "said")


def test_a_graph_says_a_thing_once():
    regions = [Region("cup", (0, 0, 4, 4)), Region("Cup", (0, 0, 4, 4)), Region("cup"), Region("cup")]
    relations = [Relation(0, "on", 2), Relation(1, "On", 2), Relation(0, "by", 1)]
    answer = answer_of_graph(SceneGraph(10, 10, regions, relations))
    assert (answer.names, answer.regions) == (["cup", "cup", "cup"], [0, 0, 1, 2])
    assert (answer.relations, answer.rows) == ([(0, "on", 1)], [0, -1, -1])
    assert answer.faults == ["duplicate-object", "duplicate-relation", "self-relation"]


rows_drawn = st.tuples(
    st.lists(st.tuples(st.sampled_from(["cup", "Cup ", None, "hat"]), st.integers(0, 2), st.booleans()), max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["on", "On", "by"]), st.integers(0, 4), st.booleans())),
)


@given(st.lists(rows_drawn, max_size=4))
def test_graphs_read_together_say_what_each_says_alone(drawn):
    graphs = []
    for regions, relations in drawn:
        boxes = (None, (0, 0, 4, 4), (0, 1, 4, 4))
        rows = [Region(name, boxes[box], status="kept" if kept else "rejected") for name, box, kept in regions]
        edges = [
            Relation(first, said, second, status="kept" if kept else "rejected")
            for first, said, second, kept in relations
            if first != second and max(first, second) < len(rows)
        ]
        graphs.append(SceneGraph(10, 10, rows, edges))
    faults, texts = [("x",) * (place % 2) for place in range(len(graphs))], ["a"] * len(graphs)
    alone = [told(answer_of_graph(*one)) for one in zip(graphs, faults, texts, strict=True)]
    assert str(told_of(read_graphs(graphs, faults, texts))) == str(alone)


def test_answers_in_columns_are_joined_and_taken_in_any_order():
    texts = [
        said([CUP, TABLE], [ON]),
        said([TABLE], []),
        said([("sky.1", (0, 0, 9, 9)), CUP], [("cup.1", "by", "sky.1")]),
    ]
    graph = answer_of_graph(SceneGraph(10, 10, [Region("Sky", (0, 0, 4, 4)), Region("hat")], [Relation(0, "on", 1)]))
    each = [*(told(read_answer(text, FRAME)) for text in texts), told(graph)]
    joined = read_answers(texts, [FRAME] * 3) + AnswerColumns.of([graph])
    assert joined.labels == ["cup", "table", "sky", "hat"]
    assert str(told_of(joined)) == str(each)
    for order in ([2, 0, 2, 1], [-1, 0], []):
        assert str(told_of(joined.taken(order))) == str([each[place] for place in order])


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["id", "bbox", "subject", "predicate", "object", "x"]), inner)
    ),
    max_leaves=20,
)


@given(st.lists(json_values, max_size=6), st.lists(json_values, max_size=6), st.integers(0, 400))
def test_whatever_is_said_what_is_read_is_a_graph(objects, relations, cut):
    text = json.dumps({"objects": objects, "relationships": relations})
    for given_ in (text, text[:cut], "<answer>" + text[cut:]):
        answer = read_answer(given_, FRAME)
        graph = answer.as_graph(200, 100)
        assert len(set(answer.relations)) == len(answer.relations) == len(graph.relations)
        assert all(0 <= x0 < x1 <= 200 and 0 <= y0 < y1 <= 100 for x0, y0, x1, y1 in answer.boxes)


ids = st.sampled_from(["cup.1", "Cup.7", "table.2", "sky", " ", "cup"])
sides = st.sampled_from([0, 1, 2.5, 10, 999, 1000, 1001, -1])
things = st.fixed_dictionaries({"id": ids, "bbox": st.lists(sides, min_size=4, max_size=4) | st.just([1, 2, 3])})
relations_said = st.fixed_dictionaries({"subject": ids, "predicate": st.sampled_from(["on", "On ", ""]), "object": ids})
graphs_said = st.fixed_dictionaries(
    {"objects": st.lists(things, max_size=4), "relationships": st.lists(relations_said, max_size=4)}
)


@given(st.lists(st.tuples(graphs_said, st.sampled_from(["", "Sure! ", "<think>{</think>", "<answer>"])), max_size=5))
def test_texts_read_together_say_what_each_says_alone(given_):
    texts = [before + json.dumps(graph) for graph, before in given_]
    frames = [(FRAME, Frame(width=30.0, height=70.0, scale=(10.0, 2.5)))[number % 2] for number in range(len(texts))]
    together = read_answers(texts, frames)
    alone = [read_answer(text, frame) for text, frame in zip(texts, frames, strict=True)]
    assert told_of(together) == [told(one) for one in alone]


def test_sound_texts_beside_a_broken_one_are_read_in_columns():
    sound, shifted = said([CUP, TABLE], [ON]), said([("cup.1", (0, 0, 500, 500)), TABLE], [ON])
    broken = [said([("cup.1", box), TABLE], [ON]) for box in ((9, 9, 1, 1), (10**400, 0, 9, 9), (True, 0, 9, 9))]
    found = told_of(read_answers([sound, *broken, shifted], [FRAME] * 5))
    assert found[0].boxes == [[20.0, 10.0, 60.0, 50.0], [0.0, 40.0, 200.0, 100.0]]
    assert [one.faults for one in found[1:4]] == [
        ["box-turned"],
        ["box-not-finite", "unknown-id"],
        ["no-box", "unknown-id"],
    ]
    assert found[4].boxes == [[0.0, 0.0, 100.0, 50.0], [0.0, 40.0, 200.0, 100.0]]
    assert found[4].relations == [(0, "on", 1)]
