"""Several sets of the same images as one: keys, merged regions with both sources, conditions counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from formats.there_and_back import read

import sgforge as sg
from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.errors import ConfigError
from sgforge.graph import Region, Relation
from sgforge_formats.joined.options import JoinOptions
from sgforge_formats.joined.source import JoinSource


def write(folder: Path) -> None:
    """COCO images 139 and 285; Visual Genome has the first as image 7, of twice the size, and one more; GQA none."""
    images = [{"id": n, "file_name": f"COCO_train2014_{n:012d}.jpg", "width": 100, "height": 80} for n in (139, 285)]
    boxes = [(139, [10, 10, 20, 20], 1), (139, [50, 10, 30, 30], 2), (139, [50, 10, 30, 31], 2), (285, [1, 1, 5, 5], 1)]
    rows = [{"id": at, "image_id": n, "bbox": box, "category_id": c} for at, (n, box, c) in enumerate(boxes)]
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "table"}]
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": rows, "categories": names}))
    objects = [
        {"object_id": 1, "x": 22, "y": 20, "w": 40, "h": 40, "names": ["Cat"], "attributes": ["black"]},
        {"object_id": 2, "x": 100, "y": 20, "w": 60, "h": 60, "names": ["table"]},
        {"object_id": 3, "x": 100, "y": 20, "w": 60, "h": 60, "names": ["desk"]},
    ]
    related = [
        {"predicate": "on", "subject_id": s, "object_id": o, "relationship_id": s} for s, o in ((1, 2), (1, 3), (1, 2))
    ]
    graphs = [{"image_id": 7, "objects": objects, "relationships": related}, {"image_id": 8, "objects": []}]
    (folder / "scene_graphs.json").write_text(json.dumps(graphs))
    facts = [{"image_id": 7, "width": 200, "height": 160, "coco_id": 139}, {"image_id": 8, "width": 9, "height": 9}]
    (folder / "image_data.json").write_text(json.dumps(facts))


def join(folder: Path, **options: Any) -> JoinSource:
    vg = {name: str(folder / f"{name}.json") for name in ("scene_graphs", "image_data")}
    sets = ({"use": "coco", "annotations": str(folder / "coco.json")}, {"use": "vg", **vg})
    return JoinSource(JoinOptions(sets, by="coco", **options))


def test_regions_of_one_label_that_overlap_are_one_with_both_sources(tmp_path: Path) -> None:
    write(tmp_path)
    source = join(tmp_path)
    found = read(source)
    assert found.failures == []
    assert list(found.samples) == ["139", "285"]
    graph = found.samples["139"].graph
    assert (graph.width, graph.height) == (100, 80)
    # The cat of both is one, its box COCO's; of two tables of COCO the better overlap is Visual Genome's.
    assert list(graph.all.regions) == [
        Region("cat", (10, 10, 30, 30), attributes=("black",), source="coco+vg"),
        Region("table", (50, 10, 80, 40), source="coco+vg"),
        Region("table", (50, 10, 80, 41), source="coco"),
        Region("desk", (50, 10, 80, 40), source="vg"),
    ]
    assert list(graph.all.relations) == [Relation(0, "on", 1), Relation(0, "on", 3), Relation(0, "on", 1)]
    assert found.samples["139"].values["formats.origin"]["more"]["image"]["joined"] == {"coco": "139", "vg": "7"}
    assert [one.source for one in found.samples["285"].graph.all.regions] == ["coco"]
    assert list(source.remarks()) == [
        "images of coco: 2",
        "images of another size in a set, boxes scaled: 1",
        "regions of two sets that are one: 2",
    ]


def test_conditions_are_counted_one_after_another(tmp_path: Path) -> None:
    write(tmp_path)
    source = join(tmp_path, need=("vg",), iou=0.99)
    assert list(read(source).samples) == ["139"]
    told = list(source.remarks())
    assert told[0] == "images of coco: 2"
    assert {"left after vg: 1", "left out as vg has them not: 1"} <= set(told)


def test_a_config_joins_and_checks_its_sets(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = """
dataset = "d"
[source]
use = "join"
by = "file"
sets = [
  {use = "coco", annotations = "coco.json"},
  {use = "coco", name = "again", annotations = "coco.json"},
]
[[step]]
segment = "regions"
"""
    Path("p.toml").write_text(text)
    assert main(["run", "p.toml"]) == 0
    capsys.readouterr()
    samples = {one.image_id: one for one in Dataset.open("d")}
    assert [one.source for one in samples["139"].graph.all.regions] == ["coco+again"] * 3
    assert main(["run", "p.toml"]) == 0
    Path("q.toml").write_text(text.replace('annotations = "coco.json"}', 'annotation = "coco.json"}', 1))
    assert main(["check", "q.toml"]) == 2
    assert "annotations" in capsys.readouterr().err


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    one = {"use": "coco", "annotations": str(tmp_path / "coco.json")}
    for options, text in (
        (JoinOptions((one,)), "two sets or more"),
        (JoinOptions((one, one)), "two sets are named 'coco'"),
        (JoinOptions((one, {**one, "name": "b"}), need=("c",)), "no set"),
        (JoinOptions((one, {**one, "name": "b"}), iou=0.0), "iou must be"),
        (JoinOptions((one, {"use": "coco", "name": "b"})), "annotations"),
    ):
        with pytest.raises(ConfigError, match=text):
            JoinSource(options)
    missing = JoinSource(JoinOptions((one, {"use": "gqa", "annotations": str(tmp_path / "no.json")})))
    with pytest.raises(ConfigError, match="there is no such file"):
        missing.check(sg.Roots(), "x")
