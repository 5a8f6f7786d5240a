"""COCO instances: what is right comes through exactly, held against pycocotools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support.environment import ANNOTATIONS

from sgforge import Roots, masks
from sgforge_formats.coco.source import CocoSource
from sgforge_formats.config import CocoOptions

Reader = Callable[..., Any]
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools


@pytest.mark.usefixtures("images")
def test_values(coco: dict[str, Any], read: Reader) -> None:
    found = read(coco, images="data:images", split="val")
    assert found.failures == []
    sample = found.samples["7"]
    assert (sample.uri, sample.split, sample.graph.width, sample.graph.height) == ("data:images/a.png", "val", 40, 30)
    dog, brush = sample.graph.regions.values()
    assert (dog.label, dog.box, dog.mask, dog.attributes) == ("dog", (2.0, 3.0, 12.0, 8.5), None, ())
    assert (brush.label, brush.box) == ("toothbrush", (5.0, 5.0, 25.0, 15.0))
    assert brush.mask is not None
    assert masks.to_array(brush.mask).sum() == 200


def test_samples_come_in_the_order_of_the_file(coco: dict[str, Any], read: Reader) -> None:
    coco["images"].reverse()
    assert list(read(coco).samples) == ["8", "7"]


def test_without_images_there_are_graphs_only(coco: dict[str, Any], read: Reader) -> None:
    found = read(coco)
    assert [sample.uri for sample in found.samples.values()] == [None, None]


def test_image_without_annotations(coco: dict[str, Any], read: Reader) -> None:
    del coco["annotations"][2]
    assert len(read(coco).samples["8"].graph.regions) == 0


def test_a_plain_folder_becomes_a_root(coco: dict[str, Any], images: Path, tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(coco))
    roots = Roots()
    samples = list(CocoSource(CocoOptions(str(path), str(images))).samples(roots, "seed"))
    uri = samples[0].uri  # type: ignore[union-attr]
    assert uri == "seed:a.png"
    assert roots.resolve("seed:a.png") == images / "a.png"


def ring() -> np.ndarray:
    array = np.zeros((30, 40), np.uint8)
    array[4:20, 6:30] = 1
    array[8:12, 10:20] = 0
    return array


@pytest.mark.parametrize("form", ["compressed", "list"])
def test_run_lengths(coco: dict[str, Any], read: Reader, form: str) -> None:
    encoded = coco_mask.encode(np.asfortranarray(ring()))
    counts: Any = encoded["counts"].decode()
    if form == "list":
        flat = ring().flatten(order="F")
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *edges.tolist(), flat.size]).tolist()
    coco["annotations"][1]["segmentation"] = {"size": [30, 40], "counts": counts}
    mask = read(coco).samples["7"].graph.all.regions[1].mask
    assert (masks.to_array(mask) == ring()).all()


def test_crowds_are_kept_and_named(coco: dict[str, Any], read: Reader) -> None:
    coco["annotations"][1]["iscrowd"] = 1
    regions = read(coco).samples["7"].graph.all.regions
    assert [region.attributes for region in regions] == [(), ("crowd",)]


def test_box_from_the_mask_where_none_is_given(coco: dict[str, Any], read: Reader) -> None:
    del coco["annotations"][1]["bbox"]
    assert read(coco).samples["7"].graph.all.regions[1].box == (5.0, 5.0, 25.0, 15.0)


def test_an_empty_segmentation_is_no_mask(coco: dict[str, Any], read: Reader) -> None:
    coco["annotations"][0]["segmentation"] = []
    found = read(coco)
    assert found.failures == []
    assert found.samples["7"].graph.all.regions[0].mask is None


def test_boxes_that_reach_beyond_the_image_stay_as_they_are(coco: dict[str, Any], read: Reader) -> None:
    coco["annotations"][0]["bbox"] = [-2.5, 20, 100, 10.75]
    assert read(coco).samples["7"].graph.all.regions[0].box == (-2.5, 20.0, 97.5, 30.75)


def test_polygons_as_pycocotools_draws_them(coco: dict[str, Any], read: Reader) -> None:
    rng = np.random.default_rng(4)
    coco["annotations"] = [
        {
            "id": number,
            "image_id": 7,
            "category_id": 3,
            "bbox": [0, 0, 40, 30],
            "segmentation": [
                (rng.random(2 * rng.integers(3, 9)) * 36 - 2).round(2).tolist() for _ in range(1 + number % 3)
            ],
        }
        for number in range(60)
    ]
    regions = read(coco).samples["7"].graph.all.regions
    assert len(regions) == 60
    for row, region in zip(coco["annotations"], regions, strict=True):
        expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(row["segmentation"], 30, 40)))
        assert (masks.to_array(region.mask) == expected).all()


def test_text_ids(coco: dict[str, Any], read: Reader) -> None:
    for row in coco["images"]:
        row["id"] = f"img-{row['id']}"
    for row in coco["annotations"]:
        row["image_id"] = f"img-{row['image_id']}"
    assert list(read(coco).samples) == ["img-7", "img-8"]


def test_real_instances_against_pycocotools(tmp_path: Path) -> None:
    path = ANNOTATIONS / "coco_panoptic" / "coco_instances_detection_format.json"
    oracle = COCO(str(path))
    source = CocoSource(CocoOptions(str(path), str(tmp_path)))
    samples = list(source.samples(Roots(), "real"))
    assert len(samples) == 2
    names = {row["id"]: row["name"] for row in oracle.dataset["categories"]}
    for sample in samples:
        rows = oracle.imgToAnns[int(sample.image_id)]  # type: ignore[union-attr]
        regions = sample.graph.all.regions  # type: ignore[union-attr]
        assert [region.label for region in regions] == [names[row["category_id"]] for row in rows]
        for row, region in zip(rows, regions, strict=True):
            x, y, width, height = row["bbox"]
            assert region.box == (x, y, x + width, y + height)
            assert (masks.to_array(region.mask) == oracle.annToMask(row)).all()
        assert sample.image is None


def test_lvis(tmp_path: Path) -> None:
    import gzip

    content = json.loads(gzip.decompress((ANNOTATIONS / "lvis_val_100.json.gz").read_bytes()))
    path = tmp_path / "lvis.json"
    path.write_text(json.dumps(content))
    samples = list(CocoSource(CocoOptions(str(path))).samples(Roots(), "lvis"))
    assert len(samples) == 100
    assert sum(len(sample.graph.regions) for sample in samples) == 977  # type: ignore[union-attr]
    by_image: dict[str, list[Any]] = {}
    for row in content["annotations"]:
        by_image.setdefault(str(row["image_id"]), []).append(row)
    sizes = {str(row["id"]): (row["height"], row["width"]) for row in content["images"]}
    for sample in samples[:30]:
        rows = by_image.get(sample.image_id, [])  # type: ignore[arg-type]
        for row, region in zip(rows, sample.graph.all.regions, strict=True):  # type: ignore[union-attr]
            size = sizes[sample.image_id]  # type: ignore[index]
            expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(row["segmentation"], *size)))
            assert (masks.to_array(region.mask) == expected).all()


def test_lvis_v1_names_files_by_url(coco: dict[str, Any], read: Reader, images: Path) -> None:
    (images / "val2017").mkdir()
    (images / "b.png").rename(images / "val2017" / "b.png")
    for row in coco["images"]:
        row["coco_url"] = f"http://images.cocodataset.org/val2017/{row.pop('file_name')}"
    found = read(coco, images="data:images")
    assert [sample.uri for sample in found.samples.values()] == ["data:images/a.png", "data:images/val2017/b.png"]


def test_the_name_of_a_file_counts_before_its_url(coco: dict[str, Any], read: Reader, images: Path) -> None:
    coco["images"][0]["coco_url"] = "http://images.cocodataset.org/val2017/b.png"
    coco["images"][1]["coco_url"] = "http://images.cocodataset.org/val2017/a.png"
    coco["images"][1]["file_name"] = "not-there.png"
    found = read(coco, images="data:images")
    assert [sample.uri for sample in found.samples.values()] == ["data:images/a.png", "data:images/a.png"]
