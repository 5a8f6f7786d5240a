"""COCO to a dataset and back, and what sgforge writes beside COCO's own fields read again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from formats.reading import Result, sort_out
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

import sgforge as sg
from sgforge import Region, Relation, Roots, Sample, SceneGraph
from sgforge.dataset import Dataset
from sgforge.errors import ConfigError
from sgforge.testing.contracts.data import publish_samples
from sgforge_formats.coco.exporter import CocoExporter
from sgforge_formats.coco.source import CocoSource
from sgforge_formats.config import CocoExportOptions, CocoOptions

Reader = Callable[..., Result]
HEIGHT, WIDTH = 12, 16


def there_and_back(content: dict[str, Any], folder: Path, **options: Any) -> tuple[dict[str, Any], Result]:
    """What is exported of a COCO file that was read into a dataset, and what was read."""
    (folder / "in.json").write_text(json.dumps(content))
    found = sort_out(CocoSource(CocoOptions(str(folder / "in.json"))).samples(Roots(), "x"))
    snapshot = publish_samples(folder, list(found.samples.values()))
    CocoExporter(CocoExportOptions(**options)).export(snapshot, folder / "out.json")
    return json.loads((folder / "out.json").read_text()), found


texts = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=5)
numbers = st.integers(-(2**62), 2**62)
tenths = st.integers(0, 40).map(lambda value: value / 10)
some_tenths = st.integers(1, 40).map(lambda value: value / 10)


@st.composite
def boxes(draw: st.DrawFn) -> list[float]:
    return [draw(tenths), draw(tenths), draw(some_tenths), draw(some_tenths)]


@st.composite
def outlines(draw: st.DrawFn) -> dict[str, Any]:
    bits = draw(st.lists(st.booleans(), min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH))
    encoded = coco_mask.encode(np.asfortranarray(np.array(bits, np.uint8).reshape(HEIGHT, WIDTH)))
    return {"size": [HEIGHT, WIDTH], "counts": encoded["counts"].decode()}


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """A COCO file in which every category is used; ids are numbers of any size, or texts."""
    ids = draw(st.lists(st.one_of(numbers, texts), min_size=1, max_size=4, unique_by=str))
    categories = draw(
        st.lists(
            st.fixed_dictionaries(
                {"id": st.integers(0, 300), "name": texts},
                optional={"supercategory": texts, "keypoints": st.just(["a"])},
            ),
            min_size=1,
            max_size=4,
            unique_by=lambda row: row["id"],
        )
    )
    rows = [
        draw(
            st.fixed_dictionaries(
                {"image_id": st.sampled_from(ids), "category_id": st.just(category["id"]), "bbox": boxes()}
                | {"iscrowd": st.integers(0, 1)},
                optional={
                    "segmentation": outlines(),
                    "score": st.sampled_from([0, 0.25, 1]),
                    "keypoints": st.just([1.5, 2, 2, 0, 0, 0]),
                },
            )
        )
        for category in categories * 2
    ]
    return {
        "images": [{"id": n, "file_name": draw(texts), "width": WIDTH, "height": HEIGHT} for n in ids],
        "annotations": [{"id": at, **row} for at, row in enumerate(rows)],
        "categories": sorted(categories, key=lambda row: row["id"]),
    }


def held(content: dict[str, Any]) -> dict[str, Any]:
    """What the form holds: all but ids of annotations, areas (computed), the order of images and our own fields."""
    fields = ("image_id", "category_id", "bbox", "iscrowd", "segmentation", "score", "keypoints")
    rows: dict[str, list[Any]] = {repr(image["id"]): [] for image in content["images"]}
    for row in content["annotations"]:
        rows[repr(row["image_id"])].append({name: row[name] for name in fields if name in row})
    images = [{name: row[name] for name in ("id", "file_name", "width", "height")} for row in content["images"]]
    return {"images": sorted(images, key=repr), "rows": rows, "categories": content["categories"]}


@settings(max_examples=6)
@given(files())
def test_coco_to_a_dataset_and_back_is_an_identity(content: dict[str, Any]) -> None:
    check_identity(content)


@pytest.mark.slow
@settings(max_examples=40)
@given(files())
def test_more_coco_to_a_dataset_and_back_is_an_identity(content: dict[str, Any]) -> None:
    check_identity(content)


def check_identity(content: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written, found = there_and_back(content, Path(folder))
    assert found.failures == []
    assert held(written) == held(content)


def test_two_categories_of_one_name_are_kept_apart(coco: dict[str, Any], tmp_path: Path) -> None:
    coco["categories"] = [{"id": 3, "name": "bat", "supercategory": "animal"}, {"id": 90, "name": "bat"}]
    written, found = there_and_back(coco, tmp_path)
    assert [region.label for region in found.samples["7"].graph.all.regions] == ["bat", "bat"]
    assert [row["category_id"] for row in written["annotations"]] == [3, 90, 3]
    assert written["categories"] == coco["categories"]


def test_two_categories_of_one_name_in_a_named_file(coco: dict[str, Any], tmp_path: Path) -> None:
    """A region that was read with the id of one keeps it; of another nobody can tell which is meant."""
    rows = [{"id": 3, "name": "bat"}, {"id": 90, "name": "bat"}]
    (tmp_path / "categories.json").write_text(json.dumps(rows))
    coco["categories"] = rows
    written, _ = there_and_back(coco, tmp_path, categories=str(tmp_path / "categories.json"))
    assert [row["category_id"] for row in written["annotations"]] == [3, 90, 3]
    (tmp_path / "made").mkdir()
    snapshot = publish_samples(tmp_path / "made", [Sample("x", SceneGraph(9, 9, [Region("bat", (1, 1, 2, 2))]))])
    counts = CocoExporter(CocoExportOptions(str(tmp_path / "categories.json"))).export(snapshot, tmp_path / "o.json")
    assert counts["regions of two categories of one name left out"] == 1


def test_a_categories_file_with_an_id_twice_is_refused(coco: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('[{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]')
    with pytest.raises(ConfigError, match="category id 3 stands twice"):
        there_and_back(coco, tmp_path, categories=str(tmp_path / "c.json"))


def test_labels_that_no_file_named_are_numbered_after_those_of_the_file(coco: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps(coco))
    samples = list(sort_out(CocoSource(CocoOptions(str(tmp_path / "in.json"))).samples(Roots(), "x")).samples.values())
    graph = samples[0].graph
    more = SceneGraph(40, 30, [*graph.all.regions, Region("ant", (1, 1, 2, 2))], (), graph.attributes)
    snapshot = publish_samples(tmp_path, [attrs.evolve(samples[0], graph=more), *samples[1:]])
    CocoExporter(CocoExportOptions()).export(snapshot, tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["categories"] == [*coco["categories"], {"id": 91, "name": "ant"}]


def test_files_that_contradict_each_other_are_numbered_anew(tmp_path: Path) -> None:
    samples = [
        Sample(name, SceneGraph(9, 9, [Region(name, (1, 1, 2, 2))], (), {"coco.category.1": json.dumps(row)}))
        for name in ("b", "a")
        for row in [{"id": 1, "name": name}]
    ]
    counts = CocoExporter(CocoExportOptions()).export(publish_samples(tmp_path, samples), tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["categories"] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert counts["categories numbered anew"] == 2


@pytest.mark.parametrize(
    ("given", "written"),
    [(7, 7), ("x7", "x7"), ("007", "007"), ("7", "7"), (-5, -5), (10**18, 10**18), (2**70, str(2**70)), ("1e3", "1e3")],
)
def test_ids_are_written_as_they_were_read(tmp_path: Path, given: Any, written: Any) -> None:
    content = {
        "images": [{"id": given, "file_name": "a", "width": 9, "height": 9}],
        "annotations": [],
        "categories": [],
    }
    assert there_and_back(content, tmp_path)[0]["images"][0]["id"] == written


def test_ids_as_numbers(coco: dict[str, Any], tmp_path: Path) -> None:
    coco["images"][0]["id"] = "left-1"
    for row in coco["annotations"][:2]:
        row["image_id"] = "left-1"
    written, found = there_and_back(coco, tmp_path, ids="numbers")
    assert [(row["id"], row.get("sgforge_id")) for row in written["images"]] == [(8, None), (1, "left-1")]
    assert [row["image_id"] for row in written["annotations"]] == [8, 1, 1]
    (tmp_path / "again").mkdir()
    _, again = there_and_back(written, tmp_path / "again")
    assert {name: sample.graph for name, sample in again.samples.items()} == {
        name: sample.graph for name, sample in found.samples.items()
    }


def test_a_file_is_named_relative_to_the_folder_that_was_named(coco: dict[str, Any], tmp_path: Path) -> None:
    for shade, name in enumerate(("a.png", "sub/b.png")):
        (tmp_path / "data" / "img" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (shade, 0, 0)).save(tmp_path / "data" / "img" / name)
        coco["images"][shade]["file_name"] = name
    (tmp_path / "in.json").write_text(json.dumps(coco))
    for number, images in enumerate(("r:data/img/", "whole:", str(tmp_path / "data" / "img"))):
        source = sg.source("coco", annotations=str(tmp_path / "in.json"), images=images)
        roots = {"r": tmp_path, "whole": tmp_path / "data" / "img"}
        folder = tmp_path / f"dataset{number}"
        sg.Pipeline(sg.segment("regions")).run(source, folder, roots=roots, progress=False)
        CocoExporter(CocoExportOptions()).export(Dataset.open(folder).snapshot, tmp_path / "out.json")
        written = json.loads((tmp_path / "out.json").read_text())
        assert [row["file_name"] for row in written["images"]] == ["a.png", "sub/b.png"], images


def test_polygons_are_kept_where_it_is_asked_for(coco: dict[str, Any], tmp_path: Path) -> None:
    square, triangle = [5, 5, 25, 5, 25, 15, 5, 15], [1.5, 2, 30.25, 4, 8, 28]
    coco["annotations"][0]["segmentation"] = [square, triangle]
    coco["annotations"][2]["segmentation"] = [[1, 1], square]
    (tmp_path / "in.json").write_text(json.dumps(coco))
    options = CocoOptions(str(tmp_path / "in.json"), polygons="keep")
    samples = sort_out(CocoSource(options).samples(Roots(), "x")).samples
    other = attrs.evolve(samples["7"].graph.all.regions[1], mask=samples["7"].graph.all.regions[0].mask)
    graph = samples["7"].graph
    edited = SceneGraph(40, 30, [graph.all.regions[0], other], (), graph.attributes)
    snapshot = publish_samples(tmp_path, [attrs.evolve(samples["7"], graph=edited), samples["8"]])
    CocoExporter(CocoExportOptions()).export(snapshot, tmp_path / "out.json")
    rows = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert rows[0]["segmentation"] == [square, triangle]
    # The mask of the second was replaced, and of the third one part was left out: both are written as masks.
    assert [set(row["segmentation"]) for row in rows[1:]] == [{"size", "counts"}] * 2


def test_polygons_are_a_declared_column(coco: dict[str, Any], tmp_path: Path) -> None:
    """Of a run too; the other images have none, and no attribute of a graph holds them."""
    square = coco["annotations"][1]["segmentation"]
    (tmp_path / "in.json").write_text(json.dumps(coco))
    source = sg.source("coco", annotations=str(tmp_path / "in.json"), polygons="keep")
    sg.Pipeline(sg.segment("regions")).run(source, tmp_path / "dataset", progress=False)
    dataset = Dataset.open(tmp_path / "dataset")
    column = dataset.column("region/formats.polygons")
    assert (column.rows.tolist(), column.values) == ([1], [square])
    assert not any("polygons" in name for sample in dataset for name in sample.graph.attributes)
    CocoExporter(CocoExportOptions()).export(dataset.snapshot, tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert [row.get("segmentation") for row in written] == [None, square, None]


def test_a_polygon_too_long_for_a_value_is_kept_as_its_mask(coco: dict[str, Any], tmp_path: Path) -> None:
    zigzag = [number for at in range(10_001) for number in (5 + at % 2, 5.5 + at % 3)]
    coco["annotations"][1]["segmentation"] = [zigzag, zigzag]
    (tmp_path / "in.json").write_text(json.dumps(coco))
    source = CocoSource(CocoOptions(str(tmp_path / "in.json"), polygons="keep"))
    sample = sort_out(source.samples(Roots(), "x")).samples["7"]
    assert sample.graph.all.regions[1].mask is not None
    assert not sample.has_values
    assert list(source.remarks()) == ["outlines too long to be kept as polygons, read as masks alone: 1"]


def whole_graph() -> SceneGraph:
    regions = [
        Region("cup", (1, 1, 5, 5), attributes=("red", "crowd"), descriptions=("a cup",), depth=0.25, score=0.5),
        Region("handle", (4, 2, 5, 4), parent=0, status="rejected", reason="tiny", degree=0.5, judged_by="filter"),
        Region("table", (0, 4, 9, 8), level=2, source="sam", made_by="segment"),
    ]
    relations = [
        Relation(0, "has", 1, "functional", score=0.3, made_by="complete"),
        Relation(0, "on", 2, status="rejected", reason="odd", degree=0.1, judged_by="filter"),
    ]
    return SceneGraph(10, 8, regions, relations, {"style": "photo"})


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An export of one image with all that there can be, made once."""
    folder = tmp_path_factory.mktemp("whole")
    snapshot = publish_samples(folder, [Sample("x", whole_graph(), split="val")])
    CocoExporter(CocoExportOptions()).export(snapshot, folder / "o.json")
    return (folder / "o.json").read_text()


@pytest.fixture
def exported(text: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(text)
    return content


def test_what_sgforge_writes_is_read_back(exported: dict[str, Any], read: Reader) -> None:
    found = read(exported)
    assert found.failures == []
    back = found.samples["x"]
    plain = {name: text for name, text in back.graph.attributes.items() if not name.startswith("coco.")}
    assert attrs.evolve(back.graph, attributes=plain) == whole_graph()
    assert (back.image_id, back.split) == ("x", "val")


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], object], str, str]] = {
    "relation to nothing": (
        lambda c: c["sgforge_relations"][0].update(object=99),
        "unknown-region",
        "sgforge_relations[0]",
    ),
    "relation of a text": (
        lambda c: c["sgforge_relations"][1].update(subject=None),
        "unknown-region",
        "sgforge_relations[1]",
    ),
    "relation to itself": (
        lambda c: c["sgforge_relations"][0].update(object=1),
        "bad-relation",
        "sgforge_relations[0]",
    ),
    "no predicate": (lambda c: c["sgforge_relations"][0].pop("predicate"), "bad-relation", "sgforge_relations[0]"),
    "odd predicate": (
        lambda c: c["sgforge_relations"][0].update(predicate="a\x1b"),
        "bad-relation",
        "sgforge_relations[0]",
    ),
    "odd category": (lambda c: c["sgforge_relations"][0].update(category="x"), "bad-relation", "sgforge_relations[0]"),
    "odd score": (lambda c: c["sgforge_relations"][0].update(score=7), "bad-relation", "sgforge_relations[0]"),
    "odd name": (lambda c: c["sgforge_relations"][0].update(made_by=5), "bad-relation", "sgforge_relations[0]"),
    "relation of no image": (
        lambda c: c["sgforge_relations"][0].update(image_id=9),
        "unknown-image",
        "sgforge_relations[0]",
    ),
    "relation that is none": (
        lambda c: c["sgforge_relations"].__setitem__(0, 5),
        "bad-annotation",
        "sgforge_relations[0]",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_bad_relation_costs_itself(exported: dict[str, Any], read: Reader, name: str) -> None:
    content = exported
    spoil, reason, place = SPOILT[name]
    spoil(content)
    found = read(content)
    graph = found.samples["x"].graph
    assert (len(graph.all.regions), len(graph.all.relations)) == (3, 1)
    (failure,) = found.failures
    assert (failure.reason, failure.where, failure.loses) == (reason, f"instances.json: {place}", "annotation")


OWN_FIELDS: dict[str, tuple[str, Any]] = {
    "attributes": ("sgforge_attributes", "red"),
    "attributes with escapes": ("sgforge_attributes", ["\x1b"]),
    "depth": ("sgforge_depth", "deep"),
    "level": ("sgforge_level", 1.5),
    "status": ("sgforge_status", "maybe"),
    "reason": ("sgforge_reason", 5),
    "itself as parent": ("sgforge_parent", 1),
    "unknown parent": ("sgforge_parent", 77),
}


@pytest.mark.parametrize("name", OWN_FIELDS)
def test_a_bad_field_of_ours_costs_no_region(exported: dict[str, Any], read: Reader, name: str) -> None:
    content = exported
    field, value = OWN_FIELDS[name]
    content["annotations"][0][field] = value
    found = read(content)
    graph = found.samples["x"].graph
    assert [region.label for region in graph.all.regions] == ["cup", "handle", "table"]
    assert len(graph.all.relations) == 2
    (failure,) = found.failures
    assert failure.reason == ("unknown-region" if name == "unknown parent" else "bad-own-field")
    assert failure.where == "instances.json: annotations[0]"


def test_a_relation_of_an_id_that_two_regions_have_is_told(exported: dict[str, Any], read: Reader) -> None:
    content = exported
    content["annotations"].append({**content["annotations"][0], "bbox": [0, 0, 2, 2], "sgforge_region": 3})
    found = read(content)
    assert len(found.samples["x"].graph.all.regions) == 4
    assert found.reasons == {"unknown-region": 3}  # both relations, and a parent
