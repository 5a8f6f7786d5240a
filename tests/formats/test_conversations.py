"""Conversations: graphs in both forms, questions with answers, regions by number, bad turns, there and back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from formats.there_and_back import read, said, trip
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import sgforge as sg
from sgforge.graph import Question, Region, Relation
from sgforge.testing.contracts.data import publish_samples
from sgforge_formats.conversations.exporter import LlavaExporter, RobinExporter
from sgforge_formats.conversations.options import ConversationsExportOptions, ConversationsOptions
from sgforge_formats.conversations.source import ConversationsSource

GRAPH = {
    "objects": [{"id": "man.1", "bbox": [1, 2, 30, 40]}, {"id": "st. bernard.2", "bbox": [5.5, 5, 9, 9]}],
    "relationships": [{"subject": "man.1", "predicate": "walks", "object": "st. bernard.2"}],
}
TEXT = (
    "Objects:\nregion1: person is standing, tall\nregion2: horse\n\n"
    "Relations:\nregion1: region2 riding, region2 in front of"
)


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def talk(folder: Path, *rows: Any, name: str = "c.json") -> ConversationsSource:
    is_lines = name.endswith("l")
    (folder / name).write_text("\n".join(map(json.dumps, rows)) if is_lines else json.dumps(rows))
    return ConversationsSource(ConversationsOptions(str(folder / name)))


@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```", "<think>x</think><answer>{}</answer>"])
def test_an_answer_that_is_a_graph_is_the_graph(tmp_path: Path, form: str) -> None:
    row = {"id": "a", "image": "a.jpg", "width": 50, "height": 60}
    row["conversations"] = turns("<image>\nGraph?", form.replace("{}", json.dumps(GRAPH)), "Who?", "A man.")
    found = read(talk(tmp_path, row))
    assert found.failures == []
    sample = found.samples["a"]
    assert [(one.label, one.box) for one in sample.graph.all.regions] == [
        ("man", (1, 2, 30, 40)),
        ("st. bernard", (5.5, 5, 9, 9)),
    ]
    assert [one.triplet for one in sample.graph.all.relations] == [(0, "walks", 1)]
    assert sample.values["questions"] == (Question("conversation", "Who?", "A man."),)
    assert sample.values["formats.origin"]["more"]["image"] == {
        "file_name": "a.jpg",
        "asked": [{"question": "Graph?", "form": "json"}],
    }


def test_regions_are_called_by_number(tmp_path: Path) -> None:
    boxes = [{"bbox": [1, 2, 3, 4]}, {"bbox": [5, 5, 5, 5], "segmentation": [[5, 5, 9, 5, 9, 9]]}]
    row = {"id": 7, "file_name": "a.jpg", "width": 50, "height": 60, "annotation": boxes}
    row["conversations"] = turns("Say.", TEXT, "What is region2? And region9?", "A horse under region1.")
    found = read(talk(tmp_path, row, name="c.jsonl"))
    assert found.failures == []
    graph = found.samples["7"].graph
    assert [(one.label, one.box, one.attributes) for one in graph.all.regions] == [
        ("person", (1, 2, 4, 6), ("standing", "tall")),
        ("horse", (5, 5, 10, 10), ()),
    ]
    assert graph.all.regions[1].mask is not None
    assert [one.triplet for one in graph.all.relations] == [(0, "riding", 1), (0, "in front of", 1)]
    assert found.samples["7"].values["questions"][0].references == (1, 0)


def test_as_many_mask_signs_as_regions(tmp_path: Path) -> None:
    one = {"bbox": [1, 2, 3, 4]}
    first, second = "Of region1 <mask><pos>, region2 <mask><pos>.", "And of <mask>?"
    rows = [
        {"id": "all", "annotation": [one, one], "conversations": turns(first, "It.", "Else?", "<mask>")},
        {"id": "over turns", "annotation": [one] * 3, "conversations": turns(first, "It.", second, "That.")},
        {"id": "none", "annotation": [one], "conversations": turns("Of region1.", "It.")},
        {"id": "few", "annotation": [one], "conversations": turns(first, "It.")},
        {"id": "no regions", "conversations": turns(second, "It.")},
    ]
    found = read(talk(tmp_path, *rows))
    assert len(found.samples) == 5
    assert found.reasons == {"mask-count": 2}
    said = [(failure.image_id, failure.detail) for failure in found.failures]
    assert [image for image, _ in said] == ["few", "no regions"]
    assert "2 <mask>, its annotation 1 regions" in said[0][1]
    assert "1 <mask>, its annotation 0 regions" in said[1][1]


def test_bad_turns_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    broken = {"objects": [{"id": 5}, {"id": "a.1", "bbox": [5, 1]}], "relationships": [{"subject": "a.1"}, 5]}
    rows = [
        {"id": "a", "conversations": [*turns("x", "y", "z"), 5, {"from": "gpt", "value": "late"}, {"from": "human"}]},
        {"id": "b", "conversations": turns("g", json.dumps(broken), "g", TEXT + "\nwhat", "", "e")},
        {
            "id": "c",
            "messages": [
                {"role": "system", "content": "s"},
                *({"role": r, "content": r} for r in ("user", "assistant")),
            ],
        },
        {"id": "d", "conversations": 7},
        {"id": "a"},
        {"conversations": []},
        "x",
    ]
    source = talk(tmp_path, *rows)
    found = read(source)
    assert sorted(found.samples) == ["a", "b", "c", "d"]
    assert [one.text for one in found.samples["a"].values["questions"]] == ["x", "z"]
    assert found.samples["c"].values["questions"][0].answer == "assistant"
    assert found.reasons == {
        **{"bad-turn": 4, "bad-object": 1, "bad-box": 1, "unknown-object": 5, "bad-relation": 1, "bad-graph": 1},
        **{"duplicate-image": 1, "bad-image": 2},
    }
    assert list(source.remarks()) == ["turns of a system, left out: 1"]


words = st.text("abc d", min_size=1, max_size=6).map(str.strip).filter(bool)


@st.composite
def conversations(draw: st.DrawFn, regions: bool) -> list[dict[str, Any]]:
    rows = []
    for key in draw(st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True)):
        row: dict[str, Any] = {"id": str(key), "image": f"{key}.jpg", "width": 90, "height": 80}
        names = draw(st.lists(words, max_size=3))
        pairs = [(a, b) for a in range(len(names)) for b in range(len(names)) if a != b]
        related = draw(st.lists(st.sampled_from(pairs), max_size=3, unique=True)) if pairs else []
        boxes = [[draw(st.integers(0, 40)), 2, draw(st.integers(41, 80)), 30] for _ in names]
        texts = [text for pair in draw(st.lists(st.tuples(words, words), max_size=2)) for text in pair]
        if regions:
            row["annotation"] = [{"bbox": [x0, y0, x1 - x0, y1 - y0]} for x0, y0, x1, y1 in boxes]
            lines = ["Objects:", *(f"region{at}: {name}" for at, name in enumerate(names, 1)), "", "Relations:"]
            said_of = {
                a: [f"region{b + 1} on" for first, b in sorted(related) if first == a] for a, _ in sorted(related)
            }
            answer = "\n".join([*lines, *(f"region{a + 1}: {', '.join(parts)}" for a, parts in said_of.items())])
        else:
            objects = [
                {"id": f"{name}.{at}", "bbox": box} for at, (name, box) in enumerate(zip(names, boxes, strict=True))
            ]
            relations = [
                {"subject": objects[a]["id"], "predicate": "on", "object": objects[b]["id"]} for a, b in related
            ]
            answer = json.dumps({"objects": objects, "relationships": relations})
        graph = [draw(words), answer] if names else []
        row["conversations"] = turns(*graph, *texts)
        if row["conversations"]:
            row["conversations"][0]["value"] = "<image>\n" + row["conversations"][0]["value"]
            rows.append(row)
    return rows


@pytest.mark.parametrize("regions", [False, True])
@settings(max_examples=8, deadline=None, phases=(Phase.generate,))
@given(data=st.data())
def test_there_and_back_is_an_identity(regions: bool, data: st.DataObject) -> None:
    rows = data.draw(conversations(regions))
    exporter = RobinExporter() if regions else LlavaExporter(ConversationsExportOptions())
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if not rows:
            return

        def again(out: Path) -> ConversationsSource:
            return ConversationsSource(ConversationsOptions(str(out)))

        found = trip(folder, talk(folder, *rows), exporter, again)
        assert found.first.failures == found.again.failures == []
        assert {name: said(one) for name, one in found.again.samples.items()} == {
            name: said(one) for name, one in found.first.samples.items()
        }
        written = json.loads((folder / "out").read_text())
    texts = {row["id"]: [turn["value"] for turn in row["conversations"]] for row in written}
    if regions:
        assert texts == {row["id"]: [turn["value"] for turn in row["conversations"]] for row in rows}


def test_what_cannot_be_said_is_counted(tmp_path: Path) -> None:
    graph = sg.SceneGraph(
        50,
        40,
        [Region("cup", (1, 1, 9, 9), score=0.5, attributes=("red",)), Region(None, (1, 1, 9, 9)), Region("cup")],
        [Relation(0, "on", 2, "spatial"), Relation(0, "on", 1)],
    )
    questions = (Question("entity", "Is there a cup?", "yes"), Question("entity", "Which?"))
    samples = [sg.Sample("a", graph, values={"questions": questions}), sg.Sample("b", sg.SceneGraph(5, 5))]
    counts = LlavaExporter(ConversationsExportOptions()).export(publish_samples(tmp_path, samples), tmp_path / "out")
    (row,) = json.loads((tmp_path / "out").read_text())
    graph_said = json.loads(row["conversations"][1]["value"])
    assert graph_said == {
        "objects": [{"id": "cup.1", "bbox": [1, 1, 9, 9]}, {"id": "cup.2"}],
        "relationships": [{"subject": "cup.1", "predicate": "on", "object": "cup.2"}],
    }
    assert row["conversations"][2:] == turns("Is there a cup?", "yes")
    assert {name: number for name, number in counts.items() if "left out" in name} == {
        "regions without a label left out": 1,
        "relations of regions left out": 1,
        "scores of regions left out": 1,
        "attributes left out": 1,
        "categories of relations left out": 1,
        "questions without an answer left out": 1,
        "images of which nothing is said left out": 1,
    }
