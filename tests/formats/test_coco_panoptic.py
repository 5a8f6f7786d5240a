"""COCO panoptic: segments of an id PNG."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.environment import ANNOTATIONS

from sgforge import Roots, masks
from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge_formats.coco.source import CocoSource
from sgforge_formats.config import CocoOptions

Reader = Callable[..., Any]
LARGE = 3 + 256 * 7 + 65536 * 200
"""An id that needs all three channels."""


@pytest.fixture
def ids() -> np.ndarray:
    array = np.zeros((30, 40), np.int64)
    array[:10] = 5
    array[12:20, 3:30] = LARGE
    return array


@pytest.fixture
def panoptic(tmp_path: Path, ids: np.ndarray) -> dict[str, Any]:
    (tmp_path / "segments").mkdir()
    write_ids(tmp_path / "segments" / "a.png", ids)
    segments = [
        {"id": 5, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 40, 10], "area": 400},
        {"id": LARGE, "category_id": 2, "iscrowd": 1, "bbox": [3, 12, 27, 8], "area": 216},
    ]
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": 1, "name": "sky", "isthing": 0}, {"id": 2, "name": "crowd of people", "isthing": 1}],
    }


def write_ids(path: Path, ids: np.ndarray) -> None:
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)).save(path)


def test_segments(panoptic: dict[str, Any], read: Reader, ids: np.ndarray) -> None:
    found = read(panoptic, panoptic="data:segments")
    assert found.failures == []
    sky, crowd = found.samples["1"].graph.all.regions
    assert (sky.label, sky.box, sky.attributes) == ("sky", (0, 0, 40, 10), ())
    assert (crowd.label, crowd.box, crowd.attributes) == ("crowd of people", (3, 12, 30, 20), ("crowd",))
    assert (masks.to_array(sky.mask) == (ids == 5)).all()
    assert (masks.to_array(crowd.mask) == (ids == LARGE)).all()


def test_many_segments_in_small_portions(
    panoptic: dict[str, Any], read: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks are made a few segments at a time; the portions must fit together."""
    import sgforge_formats.reading.segment_png as module

    monkeypatch.setattr(module, "_CHUNK", 3 * 1200)
    array = np.arange(1200).reshape(30, 40) // 100 + 1
    write_ids(tmp_path / "segments" / "a.png", array)
    panoptic["annotations"][0]["segments_info"] = [{"id": n, "category_id": 1} for n in range(1, 13)]
    regions = read(panoptic, panoptic="data:segments").samples["1"].graph.all.regions
    assert [(masks.to_array(region.mask) == (array == n)).all() for n, region in enumerate(regions, 1)] == [True] * 12


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], object], str, int]] = {
    "segment not in the PNG": (lambda row: row["segments_info"][0].update(id=77), "missing-segment", 1),
    "id 0": (lambda row: row["segments_info"][0].update(id=0), "bad-annotation", 1),
    "same id twice": (lambda row: row["segments_info"][1].update(id=5), "duplicate-annotation", 1),
    "unknown category": (lambda row: row["segments_info"][0].update(category_id=9), "unknown-category", 1),
    "no list": (lambda row: row.update(segments_info=None), "bad-annotation", 0),
    "no PNG named": (lambda row: row.pop("file_name"), "bad-annotation", 0),
    "PNG missing": (lambda row: row.update(file_name="b.png"), "bad-segments-file", 0),
    "PNG elsewhere": (lambda row: row.update(file_name="../images/a.png"), "bad-segments-file", 0),
}


@pytest.mark.parametrize("name", SPOILT)
def test_bad_segments(panoptic: dict[str, Any], read: Reader, name: str) -> None:
    spoil, reason, left = SPOILT[name]
    spoil(panoptic["annotations"][0])
    found = read(panoptic, panoptic="data:segments")
    assert len(found.samples["1"].graph.regions) == left
    assert found.failures[0].reason == reason
    assert found.failures[0].image_id == "1"


def test_pixels_of_no_listed_segment_are_told(panoptic: dict[str, Any], read: Reader) -> None:
    del panoptic["annotations"][0]["segments_info"][0]
    found = read(panoptic, panoptic="data:segments")
    assert found.reasons == {"unlisted-segment": 1}
    assert "segment 5" in found.failures[0].detail


def test_png_of_another_size(panoptic: dict[str, Any], read: Reader, tmp_path: Path, ids: np.ndarray) -> None:
    write_ids(tmp_path / "segments" / "a.png", ids[:, :-1])
    assert read(panoptic, panoptic="data:segments").reasons == {"mask-size": 1}


def test_png_that_is_none(panoptic: dict[str, Any], read: Reader, tmp_path: Path) -> None:
    (tmp_path / "segments" / "a.png").write_bytes(b"not a PNG")
    assert read(panoptic, panoptic="data:segments").reasons == {"bad-segments-file": 1}


def test_the_folder_is_beside_the_file_by_default(panoptic: dict[str, Any], read: Reader, tmp_path: Path) -> None:
    (tmp_path / "segments").rename(tmp_path / "instances")
    assert len(read(panoptic).samples["1"].graph.regions) == 2


def test_no_folder_is_an_error(panoptic: dict[str, Any], read: Reader) -> None:
    with pytest.raises(ConfigError, match="option panoptic"):
        read(panoptic)


def test_too_many_segments(panoptic: dict[str, Any], read: Reader) -> None:
    panoptic["annotations"][0]["segments_info"] = [{"id": n} for n in range(70_000)]
    assert read(panoptic, panoptic="data:segments").reasons == {"too-many-regions": 1}


def test_real_panoptic_equals_its_instances_form() -> None:
    """The same regions are published in both forms."""
    folder = ANNOTATIONS / "coco_panoptic"
    panoptic = CocoSource(CocoOptions(str(folder / "panoptic_examples.json"), panoptic=str(folder)))
    instances = CocoSource(CocoOptions(str(folder / "coco_instances_detection_format.json")))
    by_id = [
        {s.image_id: s for s in source.samples(Roots(), "x") if isinstance(s, Sample)}
        for source in (panoptic, instances)
    ]
    assert by_id[0].keys() == by_id[1].keys()
    for image_id, sample in by_id[0].items():
        key = [
            sorted((r.label, r.box, r.mask.counts) for r in one.graph.all.regions if r.label and r.mask)
            for one in (sample, by_id[1][image_id])
        ]
        assert len(key[0]) > 10
        assert key[0] == key[1]
    assert json.loads((folder / "panoptic_examples.json").read_text())["annotations"][0]["file_name"].endswith(".png")
