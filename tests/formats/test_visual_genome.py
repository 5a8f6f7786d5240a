"""Visual Genome's JSON files: every file, both spellings of names, ids, bad rows, there and back."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from formats.there_and_back import read, said, trip
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

import sgforge as sg
from sgforge.dataset import Dataset
from sgforge.errors import ConfigError
from sgforge.graph import Region, Relation
from sgforge_formats.visual_genome.exporter import VisualGenomeExporter
from sgforge_formats.visual_genome.options import VisualGenomeOptions
from sgforge_formats.visual_genome.source import VisualGenomeSource

MAN = {"object_id": 11, "x": 10, "y": 20, "w": 30, "h": 40, "names": ["man", "guy"], "synsets": ["man.n.01"]}
HORSE = {"object_id": 12, "x": 5, "y": 50, "w": 60, "h": 30, "name": "horse", "merged_object_ids": [99]}


def vg(folder: Path, **files: Any) -> VisualGenomeSource:
    """A source over files that hold these rows."""
    for name, rows in files.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    return VisualGenomeSource(VisualGenomeOptions(**{name: str(folder / f"{name}.json") for name in files}))


def test_all_files_together(tmp_path: Path) -> None:
    hat = {"region_id": 5, "image_id": 1, "phrase": "a hat", "x": 1, "y": 2, "width": 3, "height": 4}
    riding = {"relationship_id": 7, "predicate": "RIDING", "subject": {**MAN, "attributes": None}, "object": HORSE}
    source = vg(
        tmp_path,
        objects=[{"image_id": 1, "image_url": "https://x/VG_100K/1.jpg", "objects": [MAN, HORSE]}],
        attributes=[{"image_id": 1, "attributes": [{**MAN, "attributes": ["tall", "tall", "old"]}, HORSE]}],
        relationships=[{"image_id": 1, "relationships": [{**riding, "synsets": ["ride.v.01"]}]}],
        region_descriptions=[{"id": 1, "regions": [hat]}],
        image_data=[{"image_id": 1, "width": 100, "height": 90, "url": "u", "coco_id": None, "flickr_id": 42}],
    )
    found = read(source)
    assert found.failures == []
    (sample,) = found.samples.values()
    graph = sample.graph
    assert (sample.image_id, graph.width, graph.height) == ("1", 100, 90)
    assert list(graph.all.regions) == [
        Region("man", (10, 20, 40, 60), attributes=("tall", "old")),
        Region("horse", (5, 50, 65, 80)),
        Region(None, (1, 2, 4, 6), descriptions=("a hat",), source="region-description"),
    ]
    assert list(graph.all.relations) == [Relation(0, "RIDING", 1)]
    assert sample.values["formats.origin"] == {
        "regions": [11, 12, None],
        "relations": [7],
        "more": {
            "image": {"url": "u", "flickr_id": 42},
            "regions": {
                "0": {"names": ["man", "guy"], "synsets": ["man.n.01"]},
                "1": {"merged_object_ids": [99]},
                "2": {"region_id": 5},
            },
            "relations": {"0": {"synsets": ["ride.v.01"]}},
        },
    }


def test_scene_graphs_name_objects_by_id_and_merged_ids_stand_for_them(tmp_path: Path) -> None:
    rows = [
        {"relationship_id": 1, "predicate": "on", "subject_id": 11, "object_id": 12},
        {"relationship_id": 2, "predicate": "near", "subject_id": "11", "object_id": 99},
        {"relationship_id": 3, "predicate": "on", "subject_id": 11, "object_id": 4711},
        {"relationship_id": 4, "predicate": "is", "subject_id": 11, "object_id": 11},
        {"relationship_id": 5, "predicate": "", "subject_id": 11, "object_id": 12},
        {"relationship_id": 6, "predicate": "a\nb", "subject_id": 11, "object_id": 12},
        7,
    ]
    found = read(vg(tmp_path, scene_graphs=[{"image_id": 1, "objects": [MAN, HORSE], "relationships": rows}]))
    assert [one.triplet for one in found.samples["1"].graph.all.relations] == [(0, "on", 1), (0, "near", 1)]
    reasons = [failure.reason for failure in found.failures]
    assert reasons == ["unknown-object", "self-relation", "bad-predicate", "bad-predicate", "bad-row"]
    assert all(failure.loses == "annotation" and failure.image_id == "1" for failure in found.failures)
    assert found.failures[0].where == "scene_graphs.json: [0]: relationships[2]"


def test_boxes_that_are_none_leave_the_region_as_relations_name_it(tmp_path: Path) -> None:
    objects = [
        {"object_id": 1, "x": 0, "y": 0, "w": 0, "h": 9, "name": "a"},
        {"object_id": 2, "x": "3", "y": "4", "w": "5", "h": "6.0", "name": "b"},
        {"object_id": 3, "x": 900, "y": 0, "w": 5, "h": 9, "name": "c"},
        {"object_id": 4, "x": -5, "y": -5, "w": 50, "h": 9, "names": []},
        {"object_id": 5, "name": "e"},
    ]
    relations = [{"predicate": "on", "subject_id": 1, "object_id": 2}]
    source = vg(
        tmp_path,
        scene_graphs=[{"image_id": "x", "objects": objects, "relationships": relations}],
        image_data=[{"image_id": "x", "width": 100, "height": "90"}],
    )
    found = read(source)
    graph = found.samples["x"].graph
    assert [(region.label, region.box) for region in graph.all.regions] == [
        ("a", None),
        ("b", (3, 4, 8, 10)),
        ("c", None),
        (None, (-5, -5, 45, 4)),
        ("e", None),
    ]
    assert len(graph.all.relations) == 1
    assert found.reasons == {"bad-box": 2, "outside-image": 1}
    assert list(source.remarks()) == ["boxes that leave their picture, kept as they are: 1"]


def test_images_of_any_file_are_there_once(tmp_path: Path) -> None:
    source = vg(
        tmp_path,
        objects=[{"image_id": 2, "objects": [MAN]}, {"image_id": 2, "objects": []}, {"objects": []}, 5],
        relationships=[
            {"image_id": 3, "relationships": [{"predicate": "on", "subject": MAN, "object": HORSE}]},
            {"image_id": 2, "relationships": []},
            {"image_id": 3, "relationships": []},
        ],
    )
    found = read(source)
    assert {name: len(sample.graph.all.regions) for name, sample in found.samples.items()} == {"2": 1, "3": 2}
    assert found.reasons == {"duplicate-image": 2, "bad-image": 2}


def test_pictures_lie_where_their_address_says_or_in_either_folder(tmp_path: Path) -> None:
    for name in ("VG_100K/1.jpg", "VG_100K_2/2.jpg", "3.jpg"):
        path = tmp_path / "img" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (50, 40)).save(path)
    rows = [{"image_id": number, "objects": []} for number in (1, 2, 3)]
    (tmp_path / "objects.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    source = sg.source("vg", objects=str(tmp_path / "objects.json.gz"), images=str(tmp_path / "img"))
    sg.Pipeline(sg.segment("regions")).run(source, tmp_path / "dataset", progress=False)
    found = {sample.image_id: (sample.uri, sample.graph.width) for sample in Dataset.open(tmp_path / "dataset")}
    assert found == {
        "1": ("source:VG_100K/1.jpg", 50),
        "2": ("source:VG_100K_2/2.jpg", 50),
        "3": ("source:3.jpg", 50),
    }


def test_a_file_that_is_cut_off_gives_what_stands_before(tmp_path: Path) -> None:
    text = json.dumps([{"image_id": number, "objects": [MAN]} for number in range(3)])
    (tmp_path / "o.json").write_text(text[:-20])
    found = read(VisualGenomeSource(VisualGenomeOptions(objects=str(tmp_path / "o.json"))))
    assert list(found.samples) == ["0", "1"]
    assert found.reasons == {"cut-off": 1}


@pytest.mark.parametrize("text", ["", "<html>", '{"images": []}', "7"])
def test_a_file_of_another_format_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "o.json").write_text(text)
    with pytest.raises(ConfigError, match=r"o\.json is no file of Visual Genome"):
        read(VisualGenomeSource(VisualGenomeOptions(objects=str(tmp_path / "o.json"))))


def test_nothing_named_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give one of scene_graphs, objects"):
        VisualGenomeSource(VisualGenomeOptions()).check(sg.Roots(), "vg")
    with pytest.raises(ConfigError, match="image_data alone"):
        read(vg(tmp_path, image_data=[]))


words = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=4)
ids = st.integers(0, 10**12)


@st.composite
def scene_graphs(draw: st.DrawFn) -> tuple[list[Any], list[Any], list[Any]]:
    """Rows of scene_graphs.json, image_data.json and region_descriptions.json."""
    graphs, facts, phrases = [], [], []
    for image_id in draw(st.lists(ids, min_size=1, max_size=3, unique=True)):
        numbers = draw(st.lists(ids, max_size=4, unique=True))
        sides = st.integers(1, 50)
        objects = [
            {"object_id": number, "x": draw(st.integers(-3, 40)), "y": draw(st.integers(0, 40)), "w": draw(sides)}
            | {"h": draw(sides), "names": draw(st.lists(words, min_size=1, max_size=2))}
            | {
                "synsets": draw(st.lists(words, max_size=1)),
                "attributes": draw(st.lists(words, max_size=2, unique=True)),
            }
            for number in numbers
        ]
        pairs = [(one, other) for one in numbers for other in numbers if one != other]
        relationships = [
            {"relationship_id": draw(ids), "predicate": draw(words), "subject_id": one, "object_id": other}
            | {"synsets": draw(st.lists(words, max_size=1))}
            for one, other in (draw(st.lists(st.sampled_from(pairs), max_size=4)) if pairs else [])
        ]
        graphs.append({"image_id": image_id, "objects": objects, "relationships": relationships})
        url = draw(st.one_of(st.none(), words))
        facts.append({"image_id": image_id, "width": 60, "height": 70, "url": url, "coco_id": draw(st.none() | ids)})
        row = {"region_id": draw(ids), "phrase": draw(words), "x": 1, "y": 2, "width": 3, "height": draw(sides)}
        phrases.append({"id": image_id, "regions": [row] if draw(st.booleans()) else []})
    return graphs, facts, phrases


@settings(max_examples=8, deadline=None, phases=(Phase.generate,))
@given(scene_graphs())
def test_there_and_back_is_an_identity(content: tuple[list[Any], list[Any], list[Any]]) -> None:
    names = ("scene_graphs", "image_data", "region_descriptions")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        source = vg(folder, **dict(zip(names, content, strict=True)))

        def again(out: Path) -> VisualGenomeSource:
            return VisualGenomeSource(VisualGenomeOptions(**{name: str(out / f"{name}.json") for name in names}))

        found = trip(folder, source, VisualGenomeExporter(), again)
        assert found.first.failures == found.again.failures == []
        assert {name: said(one) for name, one in found.again.samples.items()} == {
            name: said(one) for name, one in found.first.samples.items()
        }
        written = json.loads((folder / "out" / "scene_graphs.json").read_text())
    assert [row["image_id"] for row in written] == sorted((row["image_id"] for row in content[0]), key=str)


def test_rows_that_steps_made_get_ids_of_their_own_and_losses_are_counted(tmp_path: Path) -> None:
    graph = sg.SceneGraph(
        50,
        40,
        [
            Region("cup", (1, 2, 11, 12.5), score=0.5, descriptions=("blue",)),
            Region("table", (0, 0, 50, 40)),
            Region("lamp", (1, 1, 2, 2), status="rejected", reason="odd"),
            Region("air"),
        ],
        [Relation(0, "on", 1, "spatial", score=0.25), Relation(2, "on", 1), Relation(1, "has", 3)],
    )
    from sgforge.testing.contracts.data import publish_samples

    origin = {"formats.origin": {"regions": [9]}}
    snapshot = publish_samples(tmp_path, [sg.Sample("a", graph, values=origin)])
    counts = VisualGenomeExporter().export(snapshot, tmp_path / "out")
    (row,) = json.loads((tmp_path / "out" / "scene_graphs.json").read_text())
    assert [(one["object_id"], one["names"], one["x"], one["h"]) for one in row["objects"]] == [
        (9, ["cup"], 1, 10.5),
        (10, ["table"], 0, 40),
    ]
    assert [(one["relationship_id"], one["subject_id"], one["object_id"]) for one in row["relationships"]] == [
        (11, 9, 10)
    ]
    assert {name: number for name, number in counts.items() if number} == {
        "images": 1,
        "regions": 2,
        "relations": 1,
        "regions rejected left out": 1,
        "regions without a box left out": 1,
        "relations of regions left out": 2,
        "descriptions left out": 1,
        "scores of regions left out": 1,
        "scores of relations left out": 1,
        "categories of relations left out": 1,
    }
