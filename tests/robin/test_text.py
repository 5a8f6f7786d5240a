"""Texts of boxes and graphs: reference cases, round trips, and texts that a model may write."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from robin.given import DATA

from sgforge_robin.text import (
    GraphText,
    ObjectText,
    RelationText,
    attribute_texts,
    box_text,
    parse_boxes,
    parse_graph,
    parse_relations,
    plain_name,
    plain_predicate,
    point_text,
    serialise_graph,
)
from sgforge_robin.text.tasks import ask_choice, ask_graph, ask_relations, opening

CASES = json.loads((DATA / "bbox_text_cases.json").read_text())
NASTY = [
    *(
        "cup",
        "a man is here",
        "Relations:",
        "Objects:",
        "region2: x",
        "region3 on",
        "x, region2 near",
        "is",
        " in ",
        "",
    ),
    *(
        "tall, thin",
        "über\u2028Straße",
        "<|im_end|>",
        "<mask>",
        "\n\nRelations:",
        ",",
        ", ,",
        "a  b",
        "\u0085x",
        "region",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['qwen']}-{case['aspect']}-{case['xyxy']}")
def test_box_text_as_the_released_code_writes_it(case: dict) -> None:
    boxes = case["xyxy"] if isinstance(case["xyxy"][0], list) else [case["xyxy"]]
    found = box_text(boxes, case["w"], case["h"], case["qwen"], parity=True, aspect=case["aspect"])
    assert found == case["text"]


def test_boxes_are_rounded_by_default() -> None:
    assert box_text([(12.7, 33.3, 100.9, 200.1)], 640, 480) == "<|box_start|>(20,69),(158,417)<|box_end|>"
    assert box_text([(-5, 10, 700, 470)], 640, 480, qwen=False) == "<box>[[0,21,1000,979]]</box>"
    assert point_text(320, 120, 640, 480) == "<point>[[500,250]]</point>"


def test_boxes_are_read_in_both_forms() -> None:
    text = f"a {box_text([(0, 0, 5, 5), (2, 2, 10, 10)], 10, 10)} b {box_text([(1, 1, 2, 2)], 10, 10, qwen=False)}"
    assert parse_boxes(text) == ((0, 0, 500, 500), (200, 200, 1000, 1000), (100, 100, 200, 200))
    assert parse_boxes("<|box_start|>(5,5),(2,9)<|box_end|><|box_start|>(0,0),(1001,9)<|box_end|>(1,2),(3,4)") == ()


TEXT = """Objects:
region1: person is standing, tall
region3: red horse

Relations:
region1: region3 riding, as one does, region3 in front of
region3: region1 below"""
GRAPH = GraphText(
    (ObjectText(1, "person", ("standing", "tall")), ObjectText(3, "red horse")),
    (
        RelationText(1, "riding, as one does", 3),
        RelationText(1, "in front of", 3),
        RelationText(3, "below", 1),
    ),
)


def test_a_graph_by_hand() -> None:
    assert serialise_graph(GRAPH) == TEXT
    assert parse_graph(TEXT) == GRAPH


def test_a_graph_with_boxes() -> None:
    graph = GraphText((ObjectText(1, "man", ("red",), (1, 2, 30, 1000)), ObjectText(2, "cup", (), (0, 0, 5, 5))))
    text = serialise_graph(graph, detection=True)
    assert text == (
        "Objects:\nregion1: man in red <|box_start|>(1,2),(30,1000)<|box_end|>\n"
        "region2: cup <|box_start|>(0,0),(5,5)<|box_end|>"
    )
    assert parse_graph(text, detection=True) == graph


@pytest.mark.parametrize(
    ("text", "objects", "relations", "dropped"),
    [
        ("", 0, 0, {"no-objects": 1}),
        ("objects:\nregion1: a", 0, 0, {"no-objects": 1, "line": 2}),
        ("Objects:\nregion2: b\nregion1: a\nregion2: c", 2, 0, {"duplicate-object": 1}),
        ("Objects:\nregion1: a\nregion2: b\nRelations:\nregion1: region2 on, region7 on, region1 on", 2, 1,
         {"unknown-region": 1, "self-relation": 1}),
        ("Objects:\nregion1: a\nregion2: b\nRelations:\nregion1: region2 on, region2 on", 2, 1,
         {"duplicate-relation": 1}),
        ("Objects:\nregion1: a\nregion2: b\nRelations:\nregion1: region2 on region2: region1 below", 2, 0,
         {"relation": 1}),
        ("Objects:\nregion1: a\nregion2: b\nRelations:\nnear: region1, region2", 2, 0, {"line": 1}),
        ("Objects:\nregion1: the Relations: of a\nregion2: b\nRelations:\nregion2: region1 on", 2, 1, {}),
        ("Relations:\nregion1: region2 on\nObjects:\nregion1: a\nregion2: b", 2, 1, {}),
        ("Objects:\nregion01: a\nregion0: b\nregion99999: c\nregion1:", 0, 0, {"line": 4}),
    ],
)  # fmt: skip
def test_what_models_write(text: str, objects: int, relations: int, dropped: dict[str, int]) -> None:
    found = parse_graph(text)
    assert (len(found.objects), len(found.relations), found.dropped) == (objects, relations, dropped)


def test_a_text_that_was_cut_off() -> None:
    for end in range(len(TEXT)):
        found = parse_graph(TEXT[:end], truncated=True)
        assert set(found.objects) <= set(GRAPH.objects)
        assert set(found.relations) <= set(GRAPH.relations)
    found = parse_graph(TEXT[: TEXT.index("front of")], truncated=True)
    assert found.relations == GRAPH.relations[:1]
    assert found.dropped == {"truncated": 1}


def test_the_relations_of_one_subject() -> None:
    found = parse_relations("region2 on, region1 on, region9 near, near region2", 1, 3)
    assert found.relations == (RelationText(1, "on", 2),)
    assert found.dropped == {"self-relation": 1, "relation": 1}


def random_graph(dice: random.Random) -> GraphText:
    count = dice.randint(0, 6)
    numbers = dice.sample(range(1, 100), count)

    def words() -> str:
        return "".join(
            dice.choice(["red ", "cup", ", ", " is ", "regio", "n", "7", ":", "é", "(", "in", "-"]) for _ in range(4)
        )

    objects, relations = [], {}
    for number in sorted(numbers):
        name = plain_name(words()) or "thing"
        objects.append(ObjectText(number, name, attribute_texts([words() for _ in range(dice.randint(0, 2))])))
    for _ in range(dice.randint(0, 8) if count > 1 else 0):
        subject, object_ = dice.sample(numbers, 2)
        relations[RelationText(subject, plain_predicate(words()) or "on", object_)] = None
    order = sorted(relations, key=lambda one: (one.subject, one.object))
    return GraphText(objects, order)


def test_ten_thousand_graphs_come_back() -> None:
    dice = random.Random(0)
    for _ in range(10_000):
        graph = random_graph(dice)
        assert parse_graph(serialise_graph(graph)) == graph


def test_ten_thousand_broken_texts_are_read() -> None:
    dice = random.Random(1)
    pieces = ["\n", ", ", ": ", "region", "1", "Objects:", "Relations:", "", "\x00", "<|box_start|>(1,2)", "é", " is "]
    for _ in range(10_000):
        text = serialise_graph(random_graph(dice))
        for _ in range(dice.randint(1, 4)):
            start = dice.randint(0, len(text))
            text = text[:start] + dice.choice(pieces) + text[start + dice.randint(0, 5) :]
        found = parse_graph(text, truncated=dice.random() < 0.5)
        numbers = [item.region for item in found.objects]
        assert len(set(numbers)) == len(numbers)
        assert all({one.subject, one.object} <= set(numbers) for one in found.relations)
        # What was read says itself again: nothing in it can be taken for something else.
        again = parse_graph(serialise_graph(found))
        assert {one.region for one in again.objects} == {one.region for one in found.objects if plain_name(one.name)}
        assert set(again.dropped) <= {"unknown-region", "duplicate-relation"}


@settings(max_examples=300)
@given(st.text())
def test_any_text_is_read(text: str) -> None:
    parse_graph(text)
    parse_graph("Objects:\n" + text, truncated=True)
    parse_relations(text, 1, 5, truncated=True)


@settings(max_examples=300)
@given(st.one_of(st.text(), st.sampled_from(NASTY)))
def test_plain_texts_are_plain_once(text: str) -> None:
    for plain in (plain_name, plain_predicate):
        once = plain(text)
        assert plain(once) == once
        assert not set("<>\n\r\u2028\u0085") & set(once)


@settings(max_examples=200)
@given(st.lists(st.one_of(st.text(), st.sampled_from(NASTY)), min_size=4, max_size=4))
def test_what_people_write_cannot_add_objects_or_relations(texts: list[str]) -> None:
    name, attribute, other, predicate = texts
    objects = (ObjectText(1, name or "x", (attribute,)), ObjectText(2, other or "y"))
    found = parse_graph(serialise_graph(GraphText(objects, (RelationText(1, predicate, 2),))))
    assert {item.region for item in found.objects} <= {1, 2}
    assert len(found.relations) <= 1
    assert set(found.dropped) <= {"unknown-region"}
    if plain_predicate(predicate) and len(found.objects) == 2:
        assert found.relations == (RelationText(1, plain_predicate(predicate), 2),)


def test_questions() -> None:
    assert opening(["A", ""]).endswith("regions: region1 <mask><pos> A, region2 <mask><pos>.\n")
    assert opening([]).count("<mask>") == 0
    assert ask_relations(1, GRAPH.relations[:1]).answer == "region3 riding, as one does"
    assert ask_relations(1).answer == "none"
    assert parse_graph(ask_graph(GRAPH).answer) == GRAPH
    assert ask_choice("Which?", ["(a)", "(b)"], 1).answer == "B"
    with pytest.raises(ValueError, match="1 to 4 places"):
        ask_choice("Which?", ["(a)"] * 5)
