"""Edits written as text, done again by a pipeline: what fits, what is rebased, what is told as stale."""

from __future__ import annotations

import json

import sgforge as sg
from sgforge.cli.main import main
from sgforge.columns.declared import Column, fitted_edit, known_columns
from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.jsonl import dump_edit, write_jsonl

CUP, TABLE = Region(label="cup", box=(1, 1, 5, 5)), Region(label="table", box=(0, 4, 9, 9))


def graph(*relations):
    return SceneGraph(10, 10, [CUP, TABLE], relations)


def write(folder, lines):
    (folder / "edits.jsonl").write_bytes(b"".join(lines))


def run(folder):
    pipeline = sg.Pipeline(sg.edit("replay", edits=str(folder / "edits.jsonl")))
    return pipeline.run(sg.source("jsonl", graphs=str(folder / "g.jsonl")), folder / "d", progress=False)


def counts(report):
    step = report.steps[-1].counts
    return step.computed, step.reused, step.failed, dict(step.faults)


def test_lines_are_done_in_order_and_one_more_re_does_one_image(tmp_path):
    before = graph(Relation(0, "on", 1))
    write_jsonl([Sample(name, before) for name in "abc"], tmp_path / "g.jsonl")
    first = dump_edit("a", before, Edit.add(Region(label="hat"), Relation(0, "wears", 2)))
    write(tmp_path, [first])
    assert counts(run(tmp_path)) == (3, 0, 0, {})
    after = SceneGraph(10, 10, [CUP, TABLE, Region(label="hat")], [Relation(0, "on", 1), Relation(0, "wears", 2)])
    second = dump_edit("a", after, Edit.reject(1, "no-hat"))
    other = dump_edit("b", before, Edit.set("region", 1, label="desk"))
    write(tmp_path, [first, second])
    assert counts(run(tmp_path)) == (1, 2, 0, {})
    write(tmp_path, [first, second, other])
    assert counts(run(tmp_path)) == (1, 2, 0, {})
    write(tmp_path, [b"\n", other, first, second])  # the order among images and blank lines say nothing
    assert counts(run(tmp_path)) == (0, 3, 0, {})
    done = {sample.image_id: sample.graph for sample in sg.Dataset.open(tmp_path / "d")}
    assert [(row.predicate, row.status, row.reason) for row in done["a"].all.relations] == [
        ("on", "kept", None),
        ("wears", "rejected", "no-hat"),
    ]
    assert [region.label for region in done["b"].all.regions] == ["cup", "desk"]
    assert done["c"].all.regions[1].label == "table"


def test_what_does_not_fit_is_counted_and_listed(tmp_path, capsys):
    before = graph(Relation(0, "on", 1))
    write_jsonl([Sample("a", SceneGraph(10, 10, [TABLE, CUP], [Relation(1, "on", 0)]))], tmp_path / "g.jsonl")
    dog = SceneGraph(10, 10, [Region(label="dog")])
    write(
        tmp_path,
        [
            dump_edit("a", before, Edit.reject(0, "rebased")),
            dump_edit("a", dog, Edit.set("region", 0, label="cat")),
            dump_edit("z", before, Edit.reject(0, "x")),
        ],
    )
    report = run(tmp_path)
    assert counts(report) == (1, 0, 0, {"stale": 1})
    assert "1 line did not fit any more" in str(report)
    assert main(["edits", str(tmp_path / "edits.jsonl"), str(tmp_path / "d")]) == 4
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "3 lines: 1 rebased onto rows that have changed, 1 no longer fit, 1 about images that are not there",
        "edits.jsonl:2: image a: region 0, dog, is gone",
        "edits.jsonl:3: image z: there is no such image",
    ]
    assert main(["edits", str(tmp_path / "edits.jsonl"), str(tmp_path / "d"), "--json"]) == 4
    assert [one["how"] for one in json.loads(capsys.readouterr().out)] == ["rebased", "stale", "missing"]


def test_values_of_columns_are_done_again_and_those_of_plugins_need_no_plugin(tmp_path):
    before = graph(Relation(0, "on", 1))
    write_jsonl([Sample(name, before) for name in "ab"], tmp_path / "g.jsonl")
    price = Column("region", "shop.price", "f4")
    edit = Edit.value("region", 1, price.name, 2.5) + Edit.value("image", None, "caption", sg.Caption("a cup"))
    turned = SceneGraph(10, 10, [TABLE, CUP], [Relation(1, "on", 0)])
    write(tmp_path, [dump_edit("a", turned, fitted_edit(edit, known_columns([price])))])
    assert counts(run(tmp_path)) == (2, 0, 0, {})
    first, second = sg.Dataset.open(tmp_path / "d")
    # The cup, which was the second region of the graph that the line was made for.
    assert {index: float(value.array()) for index, value in first.region_values["shop.price"].items()} == {0: 2.5}
    assert first.values["caption"] == sg.Caption("a cup")
    assert not second.has_values
    assert counts(run(tmp_path)) == (0, 2, 0, {})


def test_an_image_is_dropped_again(tmp_path):
    before = graph(Relation(0, "on", 1))
    write_jsonl([Sample(name, before) for name in "ab"], tmp_path / "g.jsonl")
    write(
        tmp_path, [dump_edit("b", before, Edit.set("region", 0, label="mug")), dump_edit("b", before, Edit.drop("x"))]
    )
    report = run(tmp_path)
    assert report.steps[-1].counts.dropped == 1
    snapshot = sg.Dataset.open(tmp_path / "d").snapshot
    reasons = ["", *snapshot.vocabulary("reason")]
    assert [reasons[why + 1] for why in snapshot.column("image/dropped").tolist()] == ["", "x"]
    assert snapshot.graph(1).all.regions[0].label == "mug"


def test_what_is_for_others_to_say_fails_its_image_alone(tmp_path):
    before = graph()
    write_jsonl([Sample(name, before) for name in "abc"], tmp_path / "g.jsonl")
    made = sg.ImageRef(f"files:ab/{'ab' * 32}.png", "ab" * 32, 10, 10)
    chosen = Edit.value("image", None, "chosen", {"by": "hand"})
    write(tmp_path, [dump_edit("a", before, Edit(image=made)), dump_edit("b", before, chosen)])
    report = run(tmp_path)
    assert {one.image_id: one.reason for one in report.failures} == {"a": "role", "b": "role"}
