"""The COCO exporter: there and back again, and what other readers make of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from support.environment import ANNOTATIONS

from sgforge import Region, Relation, Roots, Sample, SceneGraph, jsonl, masks
from sgforge.errors import ConfigError, DatasetError
from sgforge.graph import to_float32
from sgforge.testing import ExporterContract
from sgforge.testing.contracts.data import publish_samples
from sgforge.testing.scenes import make_scene
from sgforge_formats.coco.exporter import CocoExporter
from sgforge_formats.coco.rows import xywh
from sgforge_formats.coco.source import CocoSource
from sgforge_formats.config import CocoExportOptions, CocoOptions

Reader = Callable[..., Any]
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools


class TestContract(ExporterContract):
    component = "coco"


def export(samples: list[Sample], folder: Path, **options: str) -> tuple[dict[str, Any], dict[str, int]]:
    output = folder / "out.json"
    counts = CocoExporter(CocoExportOptions(**options)).export(publish_samples(folder, samples), output)
    return json.loads(output.read_text()), dict(counts)


def plain(content: dict[str, Any]) -> dict[str, Any]:
    """What a COCO reader compares: annotations without the number of the row, extras and form of the mask."""
    names = {row["id"]: row["name"] for row in content["categories"]}
    rows = [
        (row["image_id"], names[row["category_id"]], row["bbox"], row["area"], row["iscrowd"])
        for row in content["annotations"]
    ]
    images = sorted((row["id"], row["file_name"], row["width"], row["height"]) for row in content["images"])
    return {"images": images, "annotations": sorted(rows)}


def test_coco_to_graphs_to_coco(coco: dict[str, Any], images: Path, read: Reader, tmp_path: Path) -> None:
    samples = list(read(coco, images="data:images").samples.values())
    samples = [attrs.evolve(s, uri=f"data:{Path(s.uri).name}") for s in samples]
    written, counts = export(samples, tmp_path)
    assert plain(written) == plain(coco)
    assert counts == {"images": 2, "images failed at a step": 0, "regions": 3}


def test_real_instances_there_and_back(tmp_path: Path) -> None:
    path = ANNOTATIONS / "coco_panoptic" / "coco_instances_detection_format.json"
    content = json.loads(path.read_text())
    samples = [s for s in CocoSource(CocoOptions(str(path))).samples(Roots(), "x") if isinstance(s, Sample)]
    written, _ = export(samples, tmp_path, categories=str(path))
    assert plain(written) == plain(content)
    assert written["categories"] == content["categories"]
    before = sorted(row["segmentation"]["counts"] for row in content["annotations"])
    assert sorted(row["segmentation"]["counts"] for row in written["annotations"]) == before


def test_lvis_boxes_come_back_to_the_digit(tmp_path: Path) -> None:
    import gzip

    content = json.loads(gzip.decompress((ANNOTATIONS / "lvis_val_100.json.gz").read_bytes()))
    path = tmp_path / "lvis.json"
    path.write_text(json.dumps(content))
    samples = [s for s in CocoSource(CocoOptions(str(path))).samples(Roots(), "x") if isinstance(s, Sample)]
    written, _ = export(samples, tmp_path)
    by_image: dict[int, list[list[float]]] = {}
    for row in content["annotations"]:
        by_image.setdefault(row["image_id"], []).append(row["bbox"])
    back: dict[int, list[list[float]]] = {}
    for row in written["annotations"]:
        back.setdefault(row["image_id"], []).append(row["bbox"])
    assert back == by_image


def test_graphs_to_coco_to_graphs(tmp_path: Path) -> None:
    """What COCO can say survives exactly."""
    samples = [make_scene(seed, 96).sample for seed in range(6)]
    export(samples, tmp_path)
    back = CocoSource(CocoOptions(str(tmp_path / "out.json"))).samples(Roots(), "x")
    for sample, other in zip(samples, back, strict=True):
        assert isinstance(other, Sample)
        assert other.image_id == sample.image_id
        key = [[(r.label, r.box, r.mask) for r in one.graph.all.regions] for one in (sample, other)]
        assert key[0] == key[1]


def test_pycocotools_reads_it(tmp_path: Path) -> None:
    sample = make_scene(11, 96).sample
    export([sample], tmp_path)
    oracle = COCO(str(tmp_path / "out.json"))
    rows = oracle.loadAnns(oracle.getAnnIds(imgIds=[sample.image_id]))
    for row, region in zip(rows, sample.graph.all.regions, strict=True):
        assert oracle.cats[row["category_id"]]["name"] == region.label
        mask = masks.to_array(region.mask)  # type: ignore[arg-type]
        assert (oracle.annToMask(row) == mask).all()
        assert row["area"] == mask.sum()


def graph() -> SceneGraph:
    regions = [
        Region("cup", (1, 1, 5, 5), attributes=("red", "crowd"), descriptions=("a cup",), depth=0.25, score=0.1),
        Region(None, (1, 1, 5, 5)),
        Region("handle", (4, 2, 5, 4), parent=0, status="rejected", reason="tiny", degree=0.5, judged_by="filter"),
        Region("ghost"),
    ]
    relations = [
        Relation(0, "has", 2, "functional", score=0.3, made_by="complete"),
        Relation(0, "near", 1),
        Relation(2, "part of", 0, status="rejected", reason="odd"),
    ]
    return SceneGraph(10, 8, regions, relations, {"style": "photo"})


def test_what_coco_cannot_say(tmp_path: Path) -> None:
    written, counts = export([Sample("x", graph(), "data:deep/x.png", split="val")], tmp_path)
    assert written["images"] == [
        {"id": "x", "file_name": "deep/x.png", "width": 10, "height": 8, "sgforge_uri": "data:deep/x.png"}
        | {"sgforge_split": "val", "sgforge_attributes": {"style": "photo"}}
    ]
    (cup,) = written["annotations"]
    assert cup["iscrowd"] == 1
    assert cup["score"] == 0.1
    assert cup["sgforge_attributes"] == ["red"]
    assert cup["sgforge_descriptions"] == ["a cup"]
    assert cup["sgforge_depth"] == 0.25
    (handle,) = written["sgforge_rejected_annotations"]
    assert handle["sgforge_parent"] == cup["id"]
    assert (handle["sgforge_status"], handle["sgforge_reason"], handle["sgforge_degree"]) == ("rejected", "tiny", 0.5)
    has, part = written["sgforge_relations"]
    assert (has["subject"], has["predicate"], has["object"]) == (cup["id"], "has", handle["id"])
    assert (has["category"], has["score"], has["made_by"]) == ("functional", 0.3, "complete")
    assert (part["status"], part["reason"]) == ("rejected", "odd")
    assert counts == {
        "images": 1,
        "images failed at a step": 0,
        "regions": 1,
        "regions rejected": 1,
        "regions without a label left out": 1,
        "regions without a place left out": 1,
        "relations": 1,
        "relations rejected": 1,
        "relations of regions left out": 1,
    }


def test_only_named_categories(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('[{"id": 44, "name": "cup", "supercategory": "kitchen"}]')
    written, counts = export([Sample("x", graph())], tmp_path, categories=str(tmp_path / "c.json"))
    assert [row["category_id"] for row in written["annotations"]] == [44]
    assert written["categories"] == [{"id": 44, "name": "cup", "supercategory": "kitchen"}]
    assert counts["regions of other categories left out"] == 1


def test_categories_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"categories": [5]}')
    with pytest.raises(ConfigError, match="list of categories"):
        export([Sample("x", graph())], tmp_path, categories=str(tmp_path / "c.json"))


def test_images_in_id_order(tmp_path: Path) -> None:
    written, _ = export([Sample(name, SceneGraph()) for name in ("b", "10", "9", "é", "a")], tmp_path)
    assert [row["id"] for row in written["images"]] == [10, 9, "a", "b", "é"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    snapshot = publish_samples(tmp_path, [Sample("x", graph())])
    with pytest.raises(DatasetError, match=r"out\.json cannot be written"):
        CocoExporter(CocoExportOptions()).export(snapshot, tmp_path / "none" / "out.json")


sides = st.floats(-1e5, 1e5, width=32)


@given(sides, sides, st.floats(0, 1e4, width=32), st.floats(0, 1e4, width=32))
def test_boxes_survive_xywh_exactly(x: float, y: float, width: float, height: float) -> None:
    x1, y1 = to_float32(x + width), to_float32(y + height)
    if not (x < x1 and y < y1):
        return
    ((bx, by, bw, bh),) = xywh(np.array([[x, y, x1, y1]], np.float32)).tolist()
    region = Region("a", (bx, by, bx + bw, by + bh))
    assert region.box == (x, y, x1, y1)


def test_round_trip_through_jsonl_too(tmp_path: Path) -> None:
    """Two exporters, one snapshot: the graph file holds what COCO leaves out."""
    from sgforge_formats.plain.graphs import JsonlExporter

    sample = Sample("x", graph(), "data:deep/x.png")
    snapshot = publish_samples(tmp_path, [sample])
    counts = JsonlExporter().export(snapshot, tmp_path / "out.jsonl")
    assert dict(counts) == {"images": 1, "images failed at a step": 0, "regions": 4, "relations": 3}
    (back,) = jsonl.read_jsonl(tmp_path / "out.jsonl")
    assert back.graph == sample.graph
    assert np.isfinite(back.graph.all.regions[0].depth or 0)
